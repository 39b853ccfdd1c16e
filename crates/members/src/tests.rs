//! Tests that the rules of tokens and members hold, also across a restart.

use std::os::unix::fs::PermissionsExt;

use devstack_cluster::{JoinToken, PeerCertificate, Serial, TokenId, TokenSecret};
use devstack_dag::pins::PinChange;
use proptest::prelude::*;

use super::{join::REPEAT, *};

const NOW: i64 = 1_800_000_000;
const DAY: i64 = 86_400;

struct Cluster {
    dir: tempfile::TempDir,
    members: Members,
}

fn name(text: &str) -> NodeName {
    NodeName::new(text).unwrap()
}

fn cluster() -> Cluster {
    let dir = tempfile::tempdir().unwrap();
    let new = NewCluster {
        name: "test".to_owned(),
        taskmaster: name("master"),
        names: vec!["master.example".to_owned(), "gate".to_owned()],
        certificate_life: CERTIFICATE_LIFE,
    };
    let members = Members::create(dir.path(), &new, NOW).unwrap();
    Cluster { dir, members }
}

fn request() -> String {
    NodeKey::generate().unwrap().request().unwrap()
}

fn peer(member: &str, admission: &Admission) -> PeerCertificate {
    let peer = PeerCertificate::from_pem(&admission.certificate_pem).unwrap();
    assert_eq!(peer.name.as_str(), member);
    peer
}

impl Cluster {
    fn again(&self) -> Members {
        Members::open(self.dir.path()).unwrap().unwrap()
    }

    fn token(&self, role: Role) -> Bearer {
        let new = NewToken { name: None, role, life: role.default_life(), pins: None };
        self.members.create_token(&new, NOW).unwrap().0
    }

    fn join_as(&self, token: &Bearer, member: &str, request: &str, now: i64) -> Result<Admission, MembersError> {
        let (token, secret, name) = (token.id, &token.secret, &name(member));
        self.members.join(&Joining { token, secret, name, request }, now)
    }

    fn join(&self, member: &str) -> PeerCertificate {
        let admission = self.join_as(&self.token(Role::AgentHost), member, &request(), NOW).unwrap();
        peer(member, &admission)
    }
}

#[test]
fn a_cluster_is_made_once_and_private() {
    let cluster = cluster();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(cluster.members.dir()), 0o700);
    for entry in fs::read_dir(cluster.members.dir()).unwrap() {
        assert_eq!(mode(&entry.unwrap().path()), 0o600);
    }
    let before = cluster.members.fingerprint();
    let new = NewCluster {
        name: "other".to_owned(),
        taskmaster: name("x"),
        names: vec![],
        certificate_life: CERTIFICATE_LIFE,
    };
    assert!(matches!(Members::create(cluster.dir.path(), &new, NOW), Err(MembersError::Exists(_))));
    assert_eq!(cluster.again().fingerprint(), before);
    let credentials = Credentials::load(cluster.members.dir()).unwrap();
    cluster.members.admit(&credentials.certificate()).unwrap();
    // A cluster that a crash left unfinished is built anew.
    let other = tempfile::tempdir().unwrap();
    fs::create_dir(other.path().join("cluster.new")).unwrap();
    assert!(Members::open(other.path()).unwrap().is_none());
    Members::create(other.path(), &new, NOW).unwrap();
}

#[test]
fn a_token_says_who_it_is_until_it_ends() {
    let cluster = cluster();
    let viewer = cluster.token(Role::Viewer);
    let who = |members: &Members, now| members.authenticate(&viewer, now).map(|person| person.role);
    for members in [&cluster.members, &cluster.again()] {
        assert_eq!(who(members, NOW), Some(Role::Viewer));
        assert_eq!(who(members, NOW + 90 * DAY), None, "expired");
        let forged = Bearer { id: viewer.id, secret: TokenSecret::random().unwrap() };
        assert_eq!(members.authenticate(&forged, NOW), None);
        let unknown = Bearer { id: TokenId::random().unwrap(), secret: viewer.secret.clone() };
        assert_eq!(members.authenticate(&unknown, NOW), None);
    }
    cluster.members.revoke_token(&viewer.id.to_string(), NOW).unwrap();
    cluster.members.revoke_token(&viewer.id.to_string(), NOW + 1).unwrap();
    assert_eq!(who(&cluster.members, NOW), None);
    assert_eq!(who(&cluster.again(), NOW), None);
    let joining = cluster.token(Role::AgentHost);
    assert_eq!(cluster.members.authenticate(&joining, NOW), None, "a join token is nobody");
}

#[test]
fn tokens_have_names_of_their_own_while_they_live() {
    let cluster = cluster();
    let new = |name: &str| NewToken {
        name: Some(name.to_owned()),
        role: Role::Admin,
        life: Duration::from_secs(60),
        pins: None,
    };
    cluster.members.create_token(&new("anna"), NOW).unwrap();
    let again = cluster.members.create_token(&new("anna"), NOW);
    assert!(matches!(again, Err(MembersError::TokenNameTaken(_))));
    assert!(matches!(cluster.members.revoke_token("bert", NOW), Err(MembersError::NoToken(_))));
    cluster.members.revoke_token("anna", NOW).unwrap();
    cluster.members.create_token(&new("anna"), NOW).unwrap();
    for bad in ["", " ", "a\nb", &"x".repeat(65)] {
        assert!(matches!(cluster.members.create_token(&new(bad), NOW), Err(MembersError::BadToken(_))), "{bad:?}");
    }
    let endless = NewToken { name: None, role: Role::Admin, life: Duration::MAX, pins: None };
    assert!(matches!(cluster.members.create_token(&endless, NOW), Err(MembersError::BadToken(_))));
    // After a month dead tokens are forgotten.
    cluster.members.create_token(&new("carl"), NOW + 31 * DAY).unwrap();
    assert_eq!(cluster.members.present().tokens.len(), 1);
}

#[test]
fn a_join_token_is_used_once() {
    let cluster = cluster();
    let (token, first) = (cluster.token(Role::AgentHost), request());
    let admission = cluster.join_as(&token, "node-1", &first, NOW).unwrap();
    cluster.members.admit(&peer("node-1", &admission)).unwrap();
    cluster.again().admit(&peer("node-1", &admission)).unwrap();
    let replay = cluster.join_as(&token, "node-2", &request(), NOW);
    assert!(matches!(replay, Err(MembersError::UsedToken(by)) if by == "node-1"));
    assert!(cluster.join_as(&token, "node-1", &request(), NOW).is_err(), "another key is another machine");
    // The same machine did not receive the answer: the unused certificate of the first answer is replaced.
    let again = cluster.join_as(&token, "node-1", &first, NOW).unwrap();
    cluster.members.admit(&peer("node-1", &again)).unwrap();
    assert!(cluster.members.admit(&peer("node-1", &admission)).is_err());
    assert!(cluster.join_as(&token, "node-1", &first, NOW + REPEAT).is_err(), "an answer is not lost for long");
    cluster.members.remove(&name("node-1"), NOW).unwrap();
    assert!(cluster.join_as(&token, "node-1", &first, NOW).is_err(), "not after it was removed");
}

#[test]
fn what_a_token_says_of_its_machine_stays_with_the_machine() {
    let cluster = cluster();
    cluster.join("plain");
    let file = || fs::read_to_string(cluster.members.dir().join("members.json")).unwrap();
    assert!(!file().contains("pins"), "the file of a cluster without pins is as before");
    let pins = PinChange { max_slots: Some(2), projects: Some(vec!["shop".parse().unwrap()]), ..PinChange::default() };
    let role = Role::AgentHost;
    let new = NewToken { name: None, role, life: role.default_life(), pins: Some(pins.clone()) };
    let token = cluster.members.create_token(&new, NOW).unwrap().0;
    let first = request();
    cluster.join_as(&token, "node-1", &first, NOW).unwrap();
    cluster.join_as(&token, "node-1", &first, NOW).unwrap();
    assert_eq!(cluster.again().pins(&name("node-1")), Some(pins));
    assert_eq!((cluster.members.pins(&name("plain")), cluster.members.pins(&name("none"))), (None, None));
    // A machine that joins again gets the limits of its new token.
    cluster.members.remove(&name("node-1"), NOW).unwrap();
    cluster.join("node-1");
    assert_eq!(cluster.members.pins(&name("node-1")), None);
}

#[test]
fn tokens_that_ended_let_nobody_in() {
    let cluster = cluster();
    let expired = cluster.token(Role::AgentHost);
    let late = cluster.join_as(&expired, "a", &request(), NOW + DAY);
    assert!(matches!(late, Err(MembersError::ExpiredToken)));
    let revoked = cluster.token(Role::AgentHost);
    cluster.members.revoke_token(&revoked.id.to_string(), NOW).unwrap();
    assert!(matches!(cluster.join_as(&revoked, "a", &request(), NOW), Err(MembersError::RevokedToken)));
    let admin = cluster.token(Role::Admin);
    assert!(matches!(cluster.join_as(&admin, "a", &request(), NOW), Err(MembersError::NotForJoining("admin"))));
    let forged = Bearer { id: cluster.token(Role::AgentHost).id, secret: TokenSecret::random().unwrap() };
    assert!(matches!(cluster.join_as(&forged, "a", &request(), NOW), Err(MembersError::UnknownToken)));
    let bad = cluster.join_as(&cluster.token(Role::AgentHost), "a", "hello", NOW);
    assert!(matches!(bad, Err(MembersError::Request(_))));
    assert_eq!(cluster.members.present().members.len(), 1, "only the Taskmaster");
}

#[test]
fn names_belong_to_who_has_them_until_removed() {
    let cluster = cluster();
    let first = cluster.join("node-1");
    let token = cluster.token(Role::AgentHost);
    for taken in ["node-1", "Node-1", "master", "MASTER"] {
        let refused = cluster.join_as(&token, taken, &request(), NOW);
        assert!(matches!(refused, Err(MembersError::NameTaken(_))), "{taken}");
    }
    // With a name of the Taskmaster a member could pose as the Taskmaster.
    for own in ["gate", "Localhost"] {
        let refused = cluster.join_as(&token, own, &request(), NOW);
        assert!(matches!(refused, Err(MembersError::NameReserved(_))), "{own}");
    }
    assert!(cluster.members.remove(&name("node-1"), NOW).unwrap());
    assert!(!cluster.members.remove(&name("node-1"), NOW).unwrap());
    assert!(cluster.members.admit(&first).is_err());
    // The refused attempts did not use the token up.
    let second = cluster.join_as(&token, "NODE-1", &request(), NOW).unwrap();
    cluster.members.admit(&peer("NODE-1", &second)).unwrap();
    assert!(cluster.members.admit(&first).is_err());
    assert!(matches!(cluster.members.remove(&name("master"), NOW), Err(MembersError::IsTaskmaster(_))));
    assert!(matches!(cluster.members.remove(&name("nobody"), NOW), Err(MembersError::NoMember(_))));
}

#[test]
fn the_old_certificate_is_good_until_the_new_one_renews() {
    let cluster = cluster();
    let first = cluster.join("node-1");
    let lost = peer("node-1", &cluster.members.renew(&first, &request(), NOW).unwrap());
    let second = peer("node-1", &cluster.members.renew(&first, &request(), NOW + 1).unwrap());
    cluster.members.admit(&first).unwrap();
    cluster.members.admit(&second).unwrap();
    assert!(cluster.members.admit(&lost).is_err(), "nobody has that one");
    let third = peer("node-1", &cluster.members.renew(&second, &request(), NOW + 2).unwrap());
    assert!(cluster.members.admit(&first).is_err());
    assert!(cluster.members.renew(&first, &request(), NOW).is_err());
    for members in [&cluster.members, &cluster.again()] {
        members.admit(&second).unwrap();
        members.admit(&third).unwrap();
    }
    let stranger = PeerCertificate { serial: Serial::new(&[1]), ..third.clone() };
    assert!(cluster.members.admit(&stranger).is_err());
    cluster.members.remove(&name("node-1"), NOW).unwrap();
    assert!(cluster.members.renew(&third, &request(), NOW).is_err());
}

#[test]
fn the_taskmaster_renews_itself_under_other_names() {
    let cluster = cluster();
    cluster.join("node-1");
    let credentials = Credentials::load(cluster.members.dir()).unwrap();
    let key = NodeKey::generate().unwrap();
    let names = ["10.0.0.7".to_owned(), "other.example".to_owned()];
    let own = cluster.members.renew_own(&key.request().unwrap(), &names, NOW).unwrap();
    credentials.replace(&key, &own.certificate_pem, NOW).unwrap();
    cluster.members.admit(&credentials.certificate()).unwrap();
    assert_eq!(cluster.again().present().names, names);
    let clash = cluster.members.renew_own(&key.request().unwrap(), &["Node-1".to_owned()], NOW);
    assert!(matches!(clash, Err(MembersError::NameTaken(_))));
}

#[test]
fn a_damaged_registry_is_named_and_not_overwritten() {
    let cluster = cluster();
    let file = cluster.members.dir().join(FILE);
    let text = fs::read_to_string(&file).unwrap();
    for damage in [text[..text.len() / 2].to_owned(), text.replace("\"version\": 1", "\"version\": 2")] {
        fs::write(&file, &damage).unwrap();
        let error = Members::open(cluster.dir.path()).unwrap_err();
        assert!(error.to_string().contains("members.json is damaged"), "{error}");
        assert_eq!(fs::read_to_string(&file).unwrap(), damage);
    }
}

#[test]
fn no_secret_is_kept() {
    let cluster = cluster();
    let tokens = Role::ALL.map(|role| cluster.token(role));
    let text = fs::read_to_string(cluster.members.dir().join(FILE)).unwrap();
    for token in tokens {
        assert!(!text.contains(&token.secret.reveal()) && text.contains(&token.id.to_string()));
        assert!(!format!("{token:?}").contains(&token.secret.reveal()));
        let line = JoinToken::new("h:1", cluster.members.fingerprint(), token.id, token.secret.clone()).unwrap();
        assert_eq!(line.reveal().parse::<JoinToken>().unwrap(), line);
    }
}

#[derive(Debug, Clone)]
enum Step {
    Token,
    Revoke(usize),
    Join(usize, u8),
    Remove(u8),
    Wait(i64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        Just(Step::Token),
        (0..6usize).prop_map(Step::Revoke),
        (0..6usize, 0..3u8).prop_map(|(token, name)| Step::Join(token, name)),
        (0..3u8).prop_map(Step::Remove),
        (0..DAY).prop_map(Step::Wait),
    ];
    proptest::collection::vec(step, 1..25)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// In any sequence of events a token admits at most one machine, a name belongs to one machine, and reported
    /// changes are durable.
    #[test]
    fn tokens_and_names_are_never_shared(steps in steps()) {
        let (cluster, request) = (cluster(), request());
        let (mut now, mut tokens, mut joined) = (NOW, Vec::new(), Vec::<(usize, PeerCertificate)>::new());
        for step in steps {
            match step {
                Step::Token => {
                    let new = NewToken { name: None, role: Role::AgentHost, life: Duration::from_secs(DAY as u64), pins: None };
                    tokens.push(cluster.members.create_token(&new, now).unwrap().0);
                }
                Step::Revoke(at) => {
                    if let Some(token) = tokens.get(at) {
                        cluster.members.revoke_token(&token.id.to_string(), now).unwrap();
                    }
                }
                Step::Join(at, member) => {
                    let member = format!("n{member}");
                    let Some(token) = tokens.get(at) else { continue };
                    let before = cluster.members.present();
                    match cluster.join_as(token, &member, &request, now) {
                        Ok(admission) => joined.push((at, peer(&member, &admission))),
                        Err(_) => prop_assert_eq!(before, cluster.members.present()),
                    }
                }
                Step::Remove(member) => drop(cluster.members.remove(&name(&format!("n{member}")), now)),
                Step::Wait(seconds) => now += seconds,
            }
            let good: Vec<_> = joined.iter().filter(|(_, peer)| cluster.members.admit(peer).is_ok()).collect();
            for (index, (token, peer)) in good.iter().enumerate() {
                for (other, rival) in &good[index + 1..] {
                    prop_assert!(token != other && peer.name != rival.name);
                }
            }
            prop_assert_eq!(cluster.again().present(), cluster.members.present());
        }
    }
}
