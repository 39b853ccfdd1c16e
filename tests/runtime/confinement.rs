//! What stands around an agent is in force and measured: system calls are filtered inside bwrap, what agents work with
//! goes on working there, and where something that was demanded is missing the agent does not start.

use std::{fs, path::Path, process::Command};

use devstack::runtime::{Runtime, Sandbox};
use devstack_dag::attempt::Outcome;
use devstack_shim::{
    confinement::{Demand, Measured},
    layout,
    spec::{Ending, ExitRecord, Rlimits, Secrets, Spec},
};
use nix::unistd::geteuid;

use crate::{calls, harness::*};

fn record(s: &Scratch, number: u32) -> ExitRecord {
    serde_json::from_slice(&fs::read(s.attempt_dir(&attempt(number)).join(layout::EXIT)).unwrap()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn forbidden_system_calls_fail_in_the_sandbox() {
    let Some(s) = sandboxed() else { return };
    let Some(program) = calls::program(s.dir.path()) else { return };
    // Into the agent's own directory: nothing else of the machine's files is seen there.
    let mut job = shell(1, "while ! test -x calls; do sleep 0.01; done; ./calls; unshare -U true; echo unshared $?");
    job.prompt = String::new();
    s.runtime.start(&job).await.unwrap();
    let workspace = s.attempt_dir(&attempt(1)).join("workspace");
    until("the workspace is there", || workspace.is_dir()).await;
    fs::copy(program, workspace.join("half")).unwrap();
    fs::rename(workspace.join("half"), workspace.join("calls")).unwrap();
    assert_eq!(wait(&s.runtime, &attempt(1)).await.outcome, Outcome::Exited(0));
    let said = log(&s.runtime, &attempt(1)).await;
    let (calls, unshared) = said.split_once("unshare: ").unwrap_or_else(|| panic!("{said}"));
    calls::judge(calls);
    assert!(!unshared.contains("unshared 0"), "{said}");
}

/// Threads, processes, signals, epoll, sockets, locks: whatever of the usual programs is there.
#[tokio::test(flavor = "multi_thread")]
async fn what_agents_work_with_works_in_the_sandbox() {
    let Some(s) = sandboxed() else { return };
    let python = "import threading,signal,os,select,socket,subprocess,tempfile,mmap\n\
                  t=[threading.Thread(target=sum,args=(range(1000),)) for _ in range(8)]\n\
                  [x.start() for x in t];[x.join() for x in t]\n\
                  signal.signal(signal.SIGUSR1,lambda *a:None);os.kill(os.getpid(),signal.SIGUSR1)\n\
                  e=select.epoll();a,b=socket.socketpair();e.register(a,select.EPOLLIN);b.send(b'x');assert e.poll(5)\n\
                  l=socket.socket();l.bind(('127.0.0.1',0));l.listen();c=socket.create_connection(l.getsockname())\n\
                  assert subprocess.run(['/bin/true']).returncode==0\n\
                  m=mmap.mmap(-1,4096);print('python works')\n";
    let node = "const {Worker}=require('worker_threads');const cp=require('child_process');const net=require('net');\
                new Worker('1',{eval:true}).on('exit',()=>{cp.execFileSync('/bin/true');\
                const s=net.createServer().listen(0,'127.0.0.1',()=>{s.close();console.log('node works')})})";
    let git = "git init -q r && cd r && git config user.name a && git config user.email a@b && echo x >f && git add f && \
               git commit -qm one && git gc -q && git clone -q . ../c && git -C ../c fsck && echo git works";
    for (number, program, command) in [
        (1, "/usr/bin/git", vec!["sh", "-c", git]),
        (2, "/usr/bin/python3", vec!["/usr/bin/python3", "-c", python]),
        (3, "/usr/bin/node", vec!["/usr/bin/node", "-e", node]),
    ] {
        if !Path::new(program).exists() {
            println!("SKIPPED: {program} within the sandbox: it is not installed");
            continue;
        }
        let ended = run(&s.runtime, &job(number, &command)).await;
        let said = log(&s.runtime, &attempt(number)).await;
        assert!(ended.outcome == Outcome::Exited(0) && said.contains(" works\n"), "{:?} {said}", ended.outcome);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_record_says_what_was_in_force() {
    let mut subjects = vec![(false, Scratch::new(Sandbox::Off))];
    subjects.extend(sandboxed().map(|s| (true, s)));
    for (sandbox, s) in subjects {
        run(&s.runtime, &shell(1, "true")).await;
        let measured = record(&s, 1).measured.expect("it was measured");
        let uid = if geteuid().is_root() { 10_001 } else { geteuid().as_raw() };
        // The kernel says one filter or a hundred alike.
        let seccomp = if sandbox { 2 } else { measured.seccomp };
        let bounding = if sandbox { 0 } else { measured.bounding };
        let expected = Measured { users: [uid; 4], no_new_privileges: true, seccomp, bounding, ..Measured::default() };
        assert_eq!(measured, expected);
    }
}

/// An order that demands a filter, run where there is none: by the shim itself, as a node would.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_demanded_and_not_in_force_starts_no_agent() {
    let s = Scratch::new(Sandbox::Off);
    // Files of an attempt as the runtime makes them, and the shim that it laid down.
    assert_eq!(run(&s.runtime, &shell(1, "true")).await.outcome, Outcome::Exited(0));
    if record(&s, 1).measured.is_some_and(|measured| measured.seccomp == 2) {
        println!("SKIPPED: an agent that nothing filters: everything here runs under a filter already");
        return;
    }
    let shim = fs::read_dir(s.dir.path().join("state/bin")).unwrap().flatten().map(|entry| entry.path());
    let shim = shim.into_iter().find(|path| path.to_string_lossy().contains("devstack-shim")).unwrap();
    let dir = s.attempt_dir(&attempt(1));
    let order: Spec = serde_json::from_slice(&fs::read(dir.join(layout::SPEC)).unwrap()).unwrap();
    let next = Spec {
        command: ["sh", "-c", "echo started"].map(str::to_owned).into(),
        demand: Some(Demand { filter: true, bounding: None }),
        secrets: None::<Secrets>,
        limits: Rlimits::default(),
        ..order
    };
    fs::write(dir.join(layout::SPEC), serde_json::to_vec(&next).unwrap()).unwrap();
    fs::remove_file(dir.join(layout::PID)).unwrap();
    let ended = Command::new(shim).arg("run").arg(dir.join(layout::SPEC)).env_clear().output().unwrap();
    assert!(ended.status.success(), "{ended:?}");
    let record = record(&s, 1);
    let Some(Ending::NotStarted(why)) = &record.ending else { panic!("{record:?}") };
    assert!(why.contains("not in force: the filter of system calls"), "{why}");
    assert_eq!(record.measured.map(|measured| measured.seccomp), Some(0));
    assert_eq!(fs::read(dir.join(layout::LOG)).unwrap(), b"");
    // And the node charges nobody for it.
    let next = runtime(s.dir.path(), Sandbox::Off, |_| {});
    assert!(matches!(wait(&next, &attempt(1)).await.outcome, Outcome::Infrastructure(said) if said == *why));
}
