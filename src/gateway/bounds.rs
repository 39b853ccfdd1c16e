//! How much the body of a request may hold, field by field; the body as a whole is limited before it is read.
//! Deliberately absent: plans, whose descriptions the engine measures, and bundles.

use devstack_dag::limits;

limits! {
    /// Why a person does something: it stays in the task's record, which is at most 16 KiB.
    Reason: "`reason`", 1, 1 << 10;
    /// What a person tells an agent. A long one becomes a blob.
    Message: "`message`", 1, 64 << 10;
    /// A time, with its unit.
    Deadline: "`deadline`", 1, 64;
    /// A token's role.
    TokenRole: "`role`", 1, 64;
    /// A token's name, which its registry reads more narrowly.
    TokenName: "`name`", 1, 256;
    /// An id of a token, or a name of a machine.
    JoinName: "`token` or `name`", 1, 256;
    /// The secret half of a token.
    JoinSecret: "`secret`", 1, 256;
    /// A signing request, PEM: those of RSA keys of 4,096 bits have some 2 KiB.
    SigningRequest: "`request`", 1, 16 << 10;
}
