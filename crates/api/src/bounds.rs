//! Limits on the fields of request bodies. The whole body is limited before it is read.
//! Deliberately absent: plans, whose descriptions the engine limits, and bundles.

use devstack_dag::limits;

limits! {
    /// The reason for an action: it is stored in the task's record, which is at most 16 KiB.
    Reason: "`reason`", 1, 1 << 10;
    /// A message to an agent. A long message becomes a blob.
    Message: "`message`", 1, 64 << 10;
    /// A duration with its unit.
    Deadline: "`deadline`", 1, 64;
    /// The role of a token.
    TokenRole: "`role`", 1, 64;
    /// The name of a token; the registry has stricter rules.
    TokenName: "`name`", 1, 256;
    /// The id of a token, or the name of a machine.
    JoinName: "`token` or `name`", 1, 256;
    /// The secret half of a token.
    JoinSecret: "`secret`", 1, 256;
    /// A signing request, PEM: a request with an RSA key of 4,096 bits has about 2 KiB.
    SigningRequest: "`request`", 1, 16 << 10;
}
