//! Sources, modes and the promise that a value is never shown.

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use proptest::prelude::*;

use super::*;

fn write(path: &Path, text: &str, mode: u32) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn values(secrets: &Secrets, names: &[&str]) -> Vec<String> {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    secrets.lookup(&names).unwrap().into_iter().map(|(_, secret)| secret.expose().to_owned()).collect()
}

#[test]
fn lines_of_every_form_are_read() {
    let text = "# keys\n\nA=plain # note\nexport B='single $x # y'\nC=\"two\\nlines \\\"q\\\" \\$5\" # note\nD=a=b\n E = spaced \nF=\n";
    let pairs = parse_env(text).unwrap();
    let pairs: Vec<(&str, &str)> = pairs.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    let wanted = [
        ("A", "plain"),
        ("B", "single $x # y"),
        ("C", "two\nlines \"q\" $5"),
        ("D", "a=b"),
        ("E", "spaced"),
        ("F", ""),
    ];
    assert_eq!(pairs, wanted);
}

#[test]
fn a_bad_line_is_named_without_its_content() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(".env");
    for (text, line, why) in [
        ("A=1\nsk-secret\n", 2, "there is no `=`"),
        ("A B=1\n", 1, "the part before `=` is not a name"),
        ("A='sk-secret\n", 1, "the quote is not closed on its line"),
        ("A=\"sk-secret\" more\n", 1, "there is text after the closing quote"),
    ] {
        write(&path, text, 0o600);
        let error = Secrets::gather(&path, [], None).unwrap_err().to_string();
        assert_eq!(error, format!("{}:{line}: {why}; write NAME=value", path.display()));
        assert!(!error.contains("sk-secret"));
    }
}

#[test]
fn a_file_that_others_may_read_is_refused_with_the_mend() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(".env");
    for mode in [0o644, 0o640, 0o604, 0o660, 0o601] {
        write(&path, "A=1\n", mode);
        let error = Secrets::gather(&path, [], None).unwrap_err();
        assert!(matches!(error, SecretsError::Exposed { .. }), "{mode:o}");
        assert!(error.to_string().ends_with(&format!("run `chmod 600 {}`", path.display())));
    }
    for mode in [0o600, 0o400] {
        write(&path, "A=1\n", mode);
        assert_eq!(Secrets::gather(&path, [], None).unwrap().names(), ["A"]);
    }
}

#[test]
fn a_missing_file_means_no_secrets() {
    let secrets = Secrets::gather(Path::new("/nonexistent/.env"), [], None).unwrap();
    assert!(secrets.names().is_empty());
    assert!(matches!(secrets.lookup(&["A".to_owned()]), Err(SecretsError::Unknown(_))));
}

#[test]
fn files_credentials_and_env_are_joined_and_the_nearest_wins() {
    let dir = tempfile::tempdir().unwrap();
    let credentials = dir.path().join("credentials");
    fs::create_dir(&credentials).unwrap();
    fs::write(credentials.join("TOKEN"), "from-systemd\n").unwrap();
    fs::write(credentials.join("BOTH"), "from-systemd\n").unwrap();
    fs::write(dir.path().join("key"), "from-file\r\n").unwrap();
    let env = dir.path().join(".env");
    write(&env, &format!("BOTH=from-env\nKEY_FILE={}\n", dir.path().join("key").display()), 0o600);
    let variable = ("OTHER_FILE".to_owned(), dir.path().join("key").display().to_string());
    let gone = ("GONE_FILE".to_owned(), "/nonexistent".to_owned());
    let own = ("DEVSTACK_TOKEN_FILE".to_owned(), dir.path().join("key").display().to_string());
    let secrets = Secrets::gather(&env, [variable, gone, own], Some(&credentials)).unwrap();
    assert_eq!(secrets.names(), ["BOTH", "KEY", "OTHER", "TOKEN"]);
    assert_eq!(
        values(&secrets, &["TOKEN", "BOTH", "KEY", "OTHER"]),
        ["from-systemd", "from-env", "from-file", "from-file"]
    );
}

#[test]
fn values_that_cannot_be_variables_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let env = dir.path().join(".env");
    for content in [&b""[..], b"\xff\xfe", b"a\0b", &[b'x'; 70_000]] {
        fs::write(dir.path().join("key"), content).unwrap();
        write(&env, &format!("KEY_FILE={}\n", dir.path().join("key").display()), 0o600);
        let secrets = Secrets::gather(&env, [], None).unwrap();
        assert!(matches!(secrets.lookup(&["KEY".to_owned()]), Err(SecretsError::Unusable(_))));
    }
}

#[test]
fn debug_shows_no_value() {
    let dir = tempfile::tempdir().unwrap();
    let env = dir.path().join(".env");
    write(&env, "KEY=sk-secret\n", 0o600);
    let secrets = Secrets::gather(&env, [], None).unwrap();
    let shown = format!("{secrets:?} {:?}", secrets.lookup(&["KEY".to_owned()]).unwrap());
    assert!(shown.contains("***") && !shown.contains("sk-secret"), "{shown}");
}

proptest! {
    #[test]
    fn no_text_panics(text in "(\\PC|\n){0,80}") {
        let _ = parse_env(&text);
    }
}

#[test]
fn a_credential_takes_the_place_of_a_missing_env_file() {
    let dir = tempfile::tempdir().unwrap();
    let (file, credentials) = (dir.path().join(".env"), dir.path().join("credentials"));
    fs::create_dir(&credentials).unwrap();
    write(&credentials.join("TOKEN"), "t", 0o400);
    // The mode that the service manager's ACL for one more user produces.
    write(&credentials.join(".env"), "A=brought\nB=brought\n", 0o440);
    let gather = || Secrets::gather(&file, [], Some(&credentials)).unwrap();
    assert_eq!(values(&gather(), &["A", "B", "TOKEN"]), ["brought", "brought", "t"]);
    write(&file, "A=own\n", 0o600);
    assert_eq!(
        (gather().names(), values(&gather(), &["A"])),
        (vec!["A".to_owned(), "TOKEN".to_owned()], vec!["own".to_owned()])
    );
}
