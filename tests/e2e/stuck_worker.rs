//! A worker thread that runs nothing: its clients wait, and the admin listener says so.

use std::time::{Duration, Instant};

use crate::harness::{Client, PATIENCE, Port, StoppedThread};
use crate::processes::Process;

/// The number of the only thread that serves clients.
fn worker(process: &Process) -> i32 {
    let folder = format!("/proc/{}/task", process.child.id());
    let since = Instant::now();
    loop {
        let threads = std::fs::read_dir(&folder).unwrap().map(Result::unwrap);
        let workers = threads.filter(|thread| {
            // One that has ended meanwhile has no name.
            let name = std::fs::read_to_string(thread.path().join("comm"));
            name.is_ok_and(|name| name.trim_end() == "gateway")
        });
        let workers: Vec<_> = workers.map(|thread| thread.file_name()).collect();
        if let [worker] = &workers[..] {
            return worker.to_str().unwrap().parse().unwrap();
        }
        // Threads that only the start needs end a moment after it.
        assert!(since.elapsed() < PATIENCE, "{workers:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Asks for the state of the process until it is this.
#[track_caller]
fn wait_for_health(admin: &Port, status: u16, text: &str) {
    let since = Instant::now();
    loop {
        let response = Client::connect(admin.address).get("/healthz", "");
        if response.status == status {
            assert!(response.text().contains(text), "{}", response.text());
            return;
        }
        assert!(since.elapsed() < PATIENCE, "{}", response.text());
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_worker_that_is_stuck_fails_the_health_check_until_it_runs_again() {
    let (folder, port, admin) = (
        tempfile::tempdir().unwrap(),
        Port::reserve(),
        Port::reserve(),
    );
    let settings = format!("workers = 1\n[admin]\nlisten = ['{}']\n", admin.address);
    let mut process = Process::start_with(&settings, folder.path(), port.address, &[]);
    process.wait_for("listening on");
    let mut client = Client::connect(port.address);
    assert_eq!(client.get("/api/ip_query?ip=1.1.1.1", "").status, 200);
    let health = Client::connect(admin.address).get("/healthz", "");
    assert_eq!((health.status, health.text()), (200, "ok\n"));

    let stopped = StoppedThread::stop(worker(&process));
    client.send("GET /api/ip_query?ip=1.1.1.1 HTTP/1.1\r\nHost: test\r\n\r\n");
    wait_for_health(&admin, 503, "a worker has run nothing for ");
    drop(stopped);
    assert_eq!(client.response().status, 200);
    wait_for_health(&admin, 200, "ok");
}
