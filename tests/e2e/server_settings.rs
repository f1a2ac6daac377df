//! What `[server]` and `[error_log]` do to the process: each setting, as the system shows it.

use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::harness::{Client, Incoming, PATIENCE, Peer, Port};
use crate::processes::Process;

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(5);

fn start(configuration: &str, folder: &Path) -> (Process, Port) {
    let port = Port::reserve();
    let process = Process::start_with(configuration, folder, port.address, &[]);
    (process, port)
}

fn of_process(process: &Process, file: &str) -> std::path::PathBuf {
    Path::new("/proc")
        .join(process.child.id().to_string())
        .join(file)
}

/// What the open files of a process are.
fn open_files(process: &Process) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(of_process(process, "fd")) else {
        return Vec::new();
    };
    let targets = entries.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok());
    targets.map(|target| target.display().to_string()).collect()
}

#[test]
fn max_open_files_holds_above_and_below_the_limit() {
    for wanted in [200, 300] {
        let folder = tempfile::tempdir().unwrap();
        let (mut process, _port) = start(&format!("max_open_files = {wanted}\n"), folder.path());
        process.wait_for("listening on");
        let limits = std::fs::read_to_string(of_process(&process, "limits")).unwrap();
        let line = limits
            .lines()
            .find(|line| line.starts_with("Max open files"));
        let soft = line.unwrap().split_whitespace().nth(3);
        assert_eq!(soft, Some(&*wanted.to_string()), "{limits}");
    }
}

/// How many threads serve clients.
fn gateway_threads(process: &Process) -> usize {
    let threads = std::fs::read_dir(of_process(process, "task")).unwrap();
    let names = threads.filter_map(|thread| {
        // One that has ended meanwhile has no name.
        std::fs::read_to_string(thread.ok()?.path().join("comm")).ok()
    });
    names.filter(|name| name.trim_end() == "gateway").count()
}

/// Each worker has an event loop of its own, unless they share their work.
#[test]
fn workers_are_threads_and_share_one_loop_where_work_is_stolen() {
    let begin = |work_stealing: bool, workers: usize| {
        let folder = tempfile::tempdir().unwrap();
        let settings = format!("workers = {workers}\nwork_stealing = {work_stealing}\n");
        let (mut process, port) = start(&settings, folder.path());
        process.wait_for(&format!("with {workers} workers"));
        (process, port, folder)
    };
    let loops = |process: &Process| {
        let files = open_files(process);
        let loops = files.iter().filter(|file| file.contains("eventpoll"));
        loops.count()
    };
    let (three, two, shared) = (begin(false, 3), begin(false, 2), begin(true, 3));
    // Threads that only the start needs end a moment after it, with their loops.
    let since = Instant::now();
    loop {
        let threads = [&three, &two, &shared].map(|(process, ..)| gateway_threads(process));
        let loops = [&three, &two, &shared].map(|(process, ..)| loops(process));
        if threads == [3, 2, 3] && loops[1] < loops[0] && loops[2] < loops[1] {
            return;
        }
        assert!(since.elapsed() < PATIENCE, "{threads:?} {loops:?}");
        std::thread::sleep(PAUSE);
    }
}

#[test]
fn requests_that_outlast_the_grace_period_are_cut_off() {
    let (folder, peer) = (tempfile::tempdir().unwrap(), Peer::listen());
    let settings = format!(
        "grace_period = '1s'\n[[upstream]]\npeers = ['{}']\n",
        peer.address
    );
    let (mut process, _port) = start(&settings, folder.path());
    process.wait_for("listening on");
    let mut client = Client::connect(process.address);
    client.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n");
    let mut upstream = peer.accept();
    upstream.head();
    process.signal("-TERM");
    process.wait_for("the grace period is over, 1 requests are cut off");
    assert_eq!(process.child.wait().unwrap().code(), Some(0));
    assert!(client.is_closed());
}

/// More files than any process may have open are a warning; that it listens is information.
#[test]
fn the_error_log_has_the_levels_that_it_is_asked_for() {
    for (level, expected) in [
        ("off", [false, false]),
        ("error", [false, false]),
        ("warn", [true, false]),
        ("info", [true, true]),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("error.log");
        let settings = format!(
            "max_open_files = 1073741824\n[error_log]\ntarget = '{}'\nlevel = '{level}'\n",
            file.display()
        );
        let (mut process, _port) = start(&settings, folder.path());
        while TcpStream::connect(process.address).is_err() {
            std::thread::sleep(PAUSE);
        }
        // Whoever is answered is served, and that is said before the process ends.
        Client::connect(process.address).get("/", "");
        process.signal("-TERM");
        assert_eq!(process.child.wait().unwrap().code(), Some(0));
        let log = std::fs::read_to_string(file).unwrap();
        let found = ["max_open_files asks for", "listening on"].map(|text| log.contains(text));
        assert_eq!(found, expected, "{level}: {log}");
    }
}

struct Fetching {
    process: Process,
    _others: (Port, tempfile::TempDir, Incoming),
}

/// A gateway that fetches a file into this folder from a publisher that sends a part of it.
fn fetching(folder: &Path, publisher: &Peer) -> Fetching {
    let database = format!(
        "[[database]]\nurl = 'http://{}/places.csv'\nfile = '{}/places.csv'\ninterval = '1s'\n",
        publisher.address,
        folder.display()
    );
    // What else the gateway writes is elsewhere.
    let other = tempfile::tempdir().unwrap();
    let (process, port) = start(&database, other.path());
    let mut request = publisher.accept();
    request.head();
    request.send("HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\nstart,end,country\n");
    Fetching {
        process,
        _others: (port, other, request),
    }
}

/// Waits until the process has a file of this folder open.
fn wait_for_file(process: &Process, folder: &Path) {
    let folder = folder.display().to_string();
    while !open_files(process)
        .iter()
        .any(|file| file.starts_with(&folder))
    {
        std::thread::sleep(PAUSE);
    }
}

fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.collect()
}

#[test]
fn a_stop_during_the_first_fetch_leaves_no_file() {
    for signal in ["-TERM", "-KILL"] {
        let (folder, publisher) = (tempfile::tempdir().unwrap(), Peer::listen());
        let mut it = fetching(folder.path(), &publisher);
        wait_for_file(&it.process, folder.path());
        it.process.signal(signal);
        it.process.child.wait().unwrap();
        assert!(
            names(folder.path()).is_empty(),
            "{:?}",
            names(folder.path())
        );
    }
}

#[test]
fn a_stop_during_a_later_fetch_leaves_the_file_before() {
    for signal in ["-TERM", "-KILL"] {
        let (folder, publisher) = (tempfile::tempdir().unwrap(), Peer::listen());
        let file = folder.path().join("places.csv");
        let before = "start,end,country\n1.0.0.0,1.0.0.255,中国\n";
        std::fs::write(&file, before).unwrap();
        let mut it = fetching(folder.path(), &publisher);
        wait_for_file(&it.process, folder.path());
        it.process.signal(signal);
        it.process.child.wait().unwrap();
        assert_eq!(names(folder.path()), ["places.csv"]);
        assert_eq!(std::fs::read_to_string(&file).unwrap(), before);
    }
}
