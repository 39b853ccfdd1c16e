//! A secret of several lines leaves an attempt in no common spelling: not in a text, a binary file, a path or a
//! commit's message. Guarantee 8.

use std::{fs, os::unix::fs::PermissionsExt};

use crate::{
    bench::{Plan, task},
    in_both_runtimes,
};

/// Lines that no rule for well-known keys matches.
const VALUE: [&str; 4] =
    ["-----BEGIN THING-----", "q7Zp2Lx9?t4Rk8Wm1Ns6Yb3H", "Kx5Jd8Pw0Gf2Tc7V>4Ma9Le6", "-----END THING-----"];

/// Writes the secret in the spelling `$1` to the place `$2`; spelled by Python's own library.
const LEAK: &str = r##"python3 - "$1" "$2" <<'PY'
import base64, json, os, subprocess, sys, urllib.parse
how, where = sys.argv[1:3]
value = os.environb[b"KEY"].strip()
spelled = {
    "whole": lambda: value,
    "line": lambda: value.splitlines()[1],
    "base64": lambda: base64.b64encode(value),
    "base64-inside": lambda: base64.encodebytes(b"x:" + value + b"!") if where in ("text", "binary") else base64.b64encode(b"x:" + value + b"!"),
    "base64-url": lambda: base64.urlsafe_b64encode(b"y" + value),
    "hex": lambda: value.hex().upper().encode(),
    "percent": lambda: urllib.parse.quote_from_bytes(value, safe="").encode(),
    "json": lambda: json.dumps(value.decode())[1:-1].encode(),
}[how]()
message, file, content = b"leaked", b"notes", b"fine\n"
if where == "text":
    content = b"a\n" + spelled + b"\nz\n"
elif where == "binary":
    content = b"\0\1\2" + spelled + b"\0\xff"
elif where == "path":
    file = b"d/" + spelled[:200]
else:
    message = b"Do it\n\nwith " + spelled + b" in it\n"
os.makedirs(os.path.dirname(file) or b".", exist_ok=True)
open(file, "wb").write(content)
subprocess.run(["git", "add", "-A"], check=True)
subprocess.run(["git", "-c", "user.name=x", "-c", "user.email=x", "commit", "-qF", "-"], input=message, check=True)
print("leaked")
PY
"##;

const SPELLINGS: [&str; 8] = ["whole", "line", "base64", "base64-inside", "base64-url", "hex", "percent", "json"];
const PLACES: [&str; 4] = ["text", "binary", "path", "message"];

#[test]
fn a_secret_of_several_lines_is_refused_in_every_spelling_everywhere() {
    in_both_runtimes(|world| {
        world.write(".env", &format!("KEY=\"{}\\n\"\n", VALUE.join("\\n")));
        fs::set_permissions(world.path(".env"), fs::Permissions::from_mode(0o600)).unwrap();
        let mut tasks = vec![task("HONEST", "test -n \"$KEY\"; echo honest > honest")];
        for how in SPELLINGS {
            for place in PLACES {
                let script = format!("set -- {how} {place}\n{LEAK}");
                tasks.push(task(&format!("{how}-{place}"), &script));
            }
        }
        world.plan(&Plan::new(tasks).dev("secrets = [\"KEY\"]"));
        world.run().expect(7);
        assert_eq!(world.status("HONEST"), "COMPLETED");
        for task in world.tasks() {
            let id = task["id"].as_str().unwrap();
            if id != "HONEST" {
                let log = world.log(id, 1);
                assert!(log.contains("leaked\n"), "{id} did what it is here for: {log}");
                assert_eq!(task["blocked_reason"], "policy", "{id}: {task}");
            }
        }
        let objects = world.in_hub(&["cat-file", "--batch-all-objects", "--batch"]);
        assert!(!objects.contains(VALUE[1]) && !objects.contains("leaked"), "{objects}");
        assert_eq!(world.git(&["ls-tree", "-r", "--name-only", "dev"]), "README\nhonest\nnumbers");
    });
}
