//! The gateway as a process of its own: signals, hand-over, the background.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tempfile::TempDir;

use crate::commands::{geogate, run, stderr};
use crate::harness::{Client, Port, small_database};

/// A gateway in a process of its own, which ends with the test.
pub struct Process {
    pub child: Child,
    pub address: SocketAddr,
    messages: BufReader<std::process::ChildStderr>,
    configs: TempDir,
}

impl Process {
    fn start(folder: &Path, address: SocketAddr, more: &[&str]) -> Process {
        Process::start_with("", folder, address, more)
    }

    /// With more configuration. The database is a small one unless it names others.
    pub fn start_with(extra: &str, folder: &Path, address: SocketAddr, more: &[&str]) -> Process {
        // The configuration's folder is there; those that it names are the gateway's to make.
        let configs = tempfile::tempdir().unwrap();
        let config = configs.path().join("geogate.toml");
        let mut text = format!(
            "[server]\nupgrade_socket = '{0}/upgrade.sock'\npid_file = '{0}/pid'\n",
            folder.display()
        );
        if !extra.contains("grace_period") {
            text += "grace_period = '20s'\n";
        }
        text += extra;
        if !extra.contains("[[database]]") {
            text += "\n";
            text += &small_database(configs.path());
        }
        std::fs::write(&config, text).unwrap();
        let mut child = geogate()
            .args([
                "run",
                "-c",
                &config.display().to_string(),
                "--listen",
                &address.to_string(),
            ])
            .args(more)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let messages = BufReader::new(child.stderr.take().unwrap());
        Process {
            child,
            address,
            messages,
            configs,
        }
    }

    /// Reads the log until a line has this text; the line.
    pub fn wait_for(&mut self, text: &str) -> String {
        let mut line = String::new();
        while !line.contains(text) {
            line.clear();
            let length = self.messages.read_line(&mut line).unwrap();
            assert!(length > 0, "the log ends before {text:?}");
        }
        line
    }

    pub fn signal(&self, name: &str) {
        signal(name, self.child.id());
    }

    fn get(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(self.address).unwrap();
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n"
        )
        .unwrap();
        let mut response = String::new();
        stream.read_to_string(&mut response).unwrap();
        response
    }
}

fn signal(name: &str, process: u32) {
    let sent = Command::new("kill")
        .args([name, &process.to_string()])
        .status();
    assert!(sent.unwrap().success());
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn run_answers_and_ends_well_on_each_signal() {
    for signal in ["-TERM", "-INT"] {
        let folder = tempfile::tempdir().unwrap();
        let port = Port::reserve();
        let mut gateway = Process::start(folder.path(), port.address, &[]);
        gateway.wait_for("listening on");
        let response = gateway.get("/api/ip_query?ip=1.1.1.1");
        assert!(response.starts_with("HTTP/1.1 200 OK\r\n"), "{response}");
        gateway.signal(signal);
        gateway.wait_for("stopped");
        assert_eq!(gateway.child.wait().unwrap().code(), Some(0), "{signal}");
    }
}

#[test]
fn term_finishes_the_request_in_flight() {
    let folder = tempfile::tempdir().unwrap();
    let origin = TcpListener::bind("127.0.0.1:0").unwrap();
    let peer = origin.local_addr().unwrap().to_string();
    let port = Port::reserve();
    let mut gateway = Process::start(folder.path(), port.address, &["--upstream", &peer]);
    gateway.wait_for("listening on");
    let mut client = TcpStream::connect(gateway.address).unwrap();
    client
        .write_all(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n")
        .unwrap();
    let (mut upstream, _) = origin.accept().unwrap();
    let _ = upstream.read(&mut [0; 1000]).unwrap();
    gateway.signal("-TERM");
    gateway.wait_for("stopping");
    upstream
        .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone")
        .unwrap();
    let mut response = String::new();
    client.read_to_string(&mut response).unwrap();
    assert!(response.ends_with("done"), "{response}");
    assert!(response.contains("Connection: close"), "{response}");
    assert_eq!(gateway.child.wait().unwrap().code(), Some(0));
}

/// Asks until it is told to stop, on a connection that it opens anew when it is told to; any
/// request that is not answered is a panic.
fn ask_until(stopped: &AtomicBool, address: SocketAddr) -> usize {
    let mut asked = 0;
    while !stopped.load(Ordering::Relaxed) {
        let mut client = Client::connect(address);
        loop {
            let response = client.get("/api/ip_query?ip=1.1.1.1", "");
            assert_eq!(response.status, 200);
            asked += 1;
            if response.header("connection") == Some("close") || stopped.load(Ordering::Relaxed) {
                break;
            }
        }
    }
    asked
}

#[test]
fn a_new_process_takes_over_the_listeners_and_no_request_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let port = Port::reserve();
    let address = port.address;
    let mut old = Process::start(&folder.path().join("not/there/yet"), address, &[]);
    old.wait_for("listening on");
    let stopped = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..8)
            .map(|_| scope.spawn(|| ask_until(&stopped, address)))
            .collect();
        let mut new = Process::start(
            &folder.path().join("not/there/yet"),
            address,
            &["--upgrade"],
        );
        new.wait_for("waiting for the running process");
        old.signal("-QUIT");
        new.wait_for("listening on");
        old.wait_for("stopped");
        assert_eq!(old.child.wait().unwrap().code(), Some(0));
        assert!(
            new.get("/api/ip_query?ip=1.1.1.1")
                .starts_with("HTTP/1.1 200")
        );
        stopped.store(true, Ordering::Relaxed);
        for client in clients {
            assert!(client.join().expect("no request was lost") > 0);
        }
    });
}

/// It is the grace period of requests, and none of it passes while both processes accept.
#[test]
fn an_upgrade_with_a_short_grace_period_loses_no_request() {
    let (folder, port) = (tempfile::tempdir().unwrap(), Port::reserve());
    let address = port.address;
    let start =
        |more: &[&str]| Process::start_with("grace_period = '1s'\n", folder.path(), address, more);
    let mut old = start(&[]);
    old.wait_for("listening on");
    let stopped = AtomicBool::new(false);
    std::thread::scope(|scope| {
        // Each request on a connection of its own.
        let asking = scope.spawn(|| {
            while !stopped.load(Ordering::Relaxed) {
                let response = Client::connect(address).get("/api/ip_query?ip=1.1.1.1", "");
                assert_eq!(response.status, 200);
            }
        });
        let mut new = start(&["--upgrade"]);
        new.wait_for("waiting for the running process");
        old.signal("-QUIT");
        new.wait_for("listening on");
        old.wait_for("stopped");
        stopped.store(true, Ordering::Relaxed);
        asking.join().expect("no request was lost");
    });
}

#[test]
fn quit_without_a_process_that_waits_is_a_stop() {
    let (folder, port) = (tempfile::tempdir().unwrap(), Port::reserve());
    let mut gateway = Process::start(folder.path(), port.address, &[]);
    gateway.wait_for("listening on");
    gateway.signal("-QUIT");
    gateway.wait_for("stopped");
    assert_eq!(gateway.child.wait().unwrap().code(), Some(0));
}

#[test]
fn of_two_new_processes_one_takes_over_and_the_other_says_why_not() {
    let (folder, port) = (tempfile::tempdir().unwrap(), Port::reserve());
    let mut old = Process::start(folder.path(), port.address, &[]);
    old.wait_for("listening on");
    let mut first = Process::start(folder.path(), port.address, &["--upgrade"]);
    first.wait_for("waiting for the running process");
    let mut second = Process::start(folder.path(), port.address, &["--upgrade"]);
    second.wait_for("upgrade.sock: another process waits there for the listeners");
    assert_eq!(second.child.wait().unwrap().code(), Some(1));
    old.signal("-QUIT");
    first.wait_for("listening on");
    old.wait_for("stopped");
    assert!(
        first
            .get("/api/ip_query?ip=1.1.1.1")
            .starts_with("HTTP/1.1 200")
    );
}

/// The old process gives its listeners away only when the new one serves them.
#[test]
fn a_new_process_that_ends_after_it_was_given_the_listeners_is_no_loss() {
    let (folder, port) = (tempfile::tempdir().unwrap(), Port::reserve());
    let mut old = Process::start(folder.path(), port.address, &[]);
    old.wait_for("listening on");
    // It wants an address besides that it cannot have.
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = other.local_addr().unwrap().to_string();
    let more = ["--upgrade", "--listen", &taken];
    let mut new = Process::start(folder.path(), port.address, &more);
    new.wait_for("waiting for the running process");
    old.signal("-QUIT");
    new.wait_for(&format!("cannot listen on {taken}"));
    old.wait_for("QUIT: the listeners were not handed over, serving on");
    assert!(
        old.get("/api/ip_query?ip=1.1.1.1")
            .starts_with("HTTP/1.1 200")
    );
}

#[test]
fn usr2_starts_the_new_process_which_takes_over() {
    let (folder, port) = (tempfile::tempdir().unwrap(), Port::reserve());
    let mut old = Process::start(folder.path(), port.address, &[]);
    old.wait_for("listening on");
    old.signal("-USR2");
    let line = old.wait_for("USR2: process ");
    let new = line.split_once("USR2: process ").unwrap().1;
    let new: u32 = new.split(' ').next().unwrap().parse().unwrap();
    // The new one writes to the same log.
    old.wait_for("listening on");
    assert_eq!(old.child.wait().unwrap().code(), Some(0));
    let response = old.get("/api/ip_query?ip=1.1.1.1");
    signal("-INT", new);
    assert!(response.starts_with("HTTP/1.1 200"), "{response}");
    while TcpStream::connect(old.address).is_ok() {
        std::thread::yield_now();
    }
}

#[test]
fn usr2_without_a_new_process_that_starts_changes_nothing() {
    let (folder, port) = (tempfile::tempdir().unwrap(), Port::reserve());
    let mut gateway = Process::start(folder.path(), port.address, &[]);
    gateway.wait_for("listening on");
    let config = gateway.configs.path().join("geogate.toml");
    std::fs::write(&config, "nonsense = 1\n").unwrap();
    gateway.signal("-USR2");
    gateway.wait_for("USR2: no new process took over, serving on: the new process ended");
    assert!(
        gateway
            .get("/api/ip_query?ip=1.1.1.1")
            .starts_with("HTTP/1.1 200")
    );
    // A window that changes its size is nothing to it.
    gateway.signal("-WINCH");
    gateway.signal("-TERM");
    gateway.wait_for("stopped");
}

#[test]
fn an_upgrade_socket_where_others_could_put_one_is_refused() {
    let (folder, port) = (tempfile::tempdir().unwrap(), Port::reserve());
    let open = folder.path().join("open");
    std::fs::create_dir(&open).unwrap();
    std::fs::set_permissions(&open, std::fs::Permissions::from_mode(0o777)).unwrap();
    for more in [&[][..], &["--upgrade"]] {
        let mut gateway = Process::start(&open, port.address, more);
        gateway.wait_for(&format!(
            "server.upgrade_socket: folder {}: mode 777",
            open.display()
        ));
        assert_eq!(gateway.child.wait().unwrap().code(), Some(1));
    }
}

/// A gateway whose standard output and error are pipes that nobody reads yet.
fn with_pipes(folder: &Path, address: SocketAddr, extra: &str, level: &str) -> Child {
    let config = folder.join("geogate.toml");
    let text = format!(
        "[server]\nlisten = ['{address}']\nupgrade_socket = '{0}/u.sock'\npid_file = '{0}/pid'\n{extra}{1}",
        folder.display(),
        small_database(folder)
    );
    std::fs::write(&config, text).unwrap();
    let child = geogate()
        .args(["run", "-c", &config.display().to_string()])
        .env("RUST_LOG", level)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    while TcpStream::connect(address).is_err() {
        std::thread::yield_now();
    }
    child
}

#[test]
fn a_standard_error_that_nobody_reads_holds_nobody_up() {
    let (folder, port, admin) = (
        tempfile::tempdir().unwrap(),
        Port::reserve(),
        Port::reserve(),
    );
    let extra = format!(
        "[admin]\nlisten = ['{}']\n[access_log]\ntarget = 'off'\n",
        admin.address
    );
    // At this level each connection has several messages.
    let mut child = with_pipes(folder.path(), port.address, &extra, "trace");
    let dropped = || {
        let metrics = Client::connect(admin.address).get("/metrics", "");
        let name = "geogate_error_log_dropped_messages_total ";
        let line = metrics
            .text()
            .lines()
            .find_map(|line| line.strip_prefix(name));
        line.unwrap().parse::<u64>().unwrap()
    };
    while dropped() == 0 {
        let response = Client::connect(port.address).get("/api/ip_query?ip=1.1.1.1", "");
        assert_eq!(response.status, 200);
    }
    let health = Client::connect(admin.address).get("/healthz", "");
    assert_eq!((health.status, health.text()), (200, "ok\n"));
    // Once it is read, it says what is missing.
    let mut messages = BufReader::new(child.stderr.take().unwrap()).lines();
    assert!(messages.any(|line| line.unwrap().contains(" messages dropped, its target")));
    drop(messages);
    signal("-TERM", child.id());
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn term_ends_the_process_whatever_the_reader_of_a_log_does() {
    let (folder, port) = (tempfile::tempdir().unwrap(), Port::reserve());
    let extra = "[access_log]\ntarget = 'standard'\n";
    let mut child = with_pipes(folder.path(), port.address, extra, "info");
    let mut client = Client::connect(port.address);
    let (count, filler) = (100, "x".repeat(4000));
    for _ in 0..count {
        // More than a pipe holds.
        let path = format!("/api/ip_query?ip=1.1.1.1&{filler}");
        assert_eq!(client.get(&path, "").status, 200);
    }
    signal("-TERM", child.id());
    assert_eq!(child.wait().unwrap().code(), Some(0));
    let mut messages = String::new();
    let mut stderr = child.stderr.take().unwrap();
    stderr.read_to_string(&mut messages).unwrap();
    let (before, _) = messages
        .split_once(" lines dropped at the end")
        .expect(&messages);
    let dropped = before.rsplit(' ').next().unwrap().parse::<usize>().unwrap();
    assert!((1..=count).contains(&dropped), "{messages}");
}

#[test]
fn hup_reads_the_configuration_again() {
    let folder = tempfile::tempdir().unwrap();
    let port = Port::reserve();
    let mut gateway = Process::start(folder.path(), port.address, &[]);
    gateway.wait_for("listening on");
    let config = gateway.configs.path().join("geogate.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, format!("{text}\n[client]\nmax_body_size = 'x'\n")).unwrap();
    gateway.signal("-HUP");
    gateway.wait_for("client.max_body_size: \"x\" is not a size");
    let file = folder.path().join("places.csv");
    std::fs::write(&file, "cidr,country\n1.0.0.0/8,日本\n").unwrap();
    let before = small_database(gateway.configs.path());
    let other = format!("[[database]]\nfile = '{}'\n", file.display());
    assert!(text.contains(&before), "{text}");
    std::fs::write(&config, text.replace(&before, &other)).unwrap();
    gateway.signal("-HUP");
    gateway.wait_for("configuration reloaded");
    let response = gateway.get("/api/ip_query?ip=1.1.1.1");
    assert!(response.contains("日本"), "{response}");
}

#[test]
fn hup_is_heard_from_the_first_moment_on() {
    let folder = tempfile::tempdir().unwrap();
    let port = Port::reserve();
    let mut gateway = Process::start(folder.path(), port.address, &[]);
    gateway.wait_for("starting geogate");
    gateway.signal("-HUP");
    gateway.wait_for("configuration reloaded");
}

#[test]
fn usr1_opens_the_logs_again() {
    let folder = tempfile::tempdir().unwrap();
    let port = Port::reserve();
    let file = |name: &str| folder.path().join(name);
    let logs = format!(
        "[access_log]\ntarget = '{}'\n[error_log]\ntarget = '{}'\n",
        file("access").display(),
        file("error").display()
    );
    let mut gateway = Process::start_with(&logs, folder.path(), port.address, &[]);
    let wait_for = |text: &str| {
        while !std::fs::read_to_string(file("error"))
            .unwrap_or_default()
            .contains(text)
        {
            std::thread::sleep(Duration::from_millis(5));
        }
    };
    wait_for("listening on");
    // A query is in the log before its answer is sent.
    gateway.get("/api/ip_query?ip=1.1.1.1&before");
    for name in ["access", "error"] {
        std::fs::rename(file(name), file(&format!("{name}.1"))).unwrap();
    }
    gateway.signal("-USR1");
    wait_for("log files were opened again");
    gateway.get("/api/ip_query?ip=1.1.1.1&after");
    gateway.signal("-TERM");
    assert_eq!(gateway.child.wait().unwrap().code(), Some(0));
    let text = |name: &str| std::fs::read_to_string(file(name)).unwrap();
    assert!(text("access.1").contains("&before") && !text("access.1").contains("&after"));
    assert!(text("access").contains("&after") && !text("access").contains("&before"));
    assert!(text("error.1").contains("listening on") && text("error").contains("stopped"));
}

/// A handover may take a minute, if the new process is slow.
#[test]
fn usr1_does_not_wait_for_a_handover_and_hup_does() {
    let (folder, port) = (tempfile::tempdir().unwrap(), Port::reserve());
    let mut gateway = Process::start(folder.path(), port.address, &[]);
    gateway.wait_for("listening on");
    // A new process that says nothing.
    let waiting = UnixListener::bind(folder.path().join("upgrade.sock")).unwrap();
    gateway.signal("-QUIT");
    let (connection, _) = waiting.accept().unwrap();
    gateway.signal("-HUP");
    gateway.signal("-USR1");
    gateway.wait_for("USR1: log files were opened again");
    drop(connection);
    gateway.wait_for("QUIT: the listeners were not handed over, serving on");
    gateway.wait_for("configuration reloaded");
    assert!(
        gateway
            .get("/api/ip_query?ip=1.1.1.1")
            .starts_with("HTTP/1.1 200")
    );
}

#[test]
fn a_port_in_use_ends_the_process_at_once() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let folder = tempfile::tempdir().unwrap();
    small_database(folder.path());
    let database = folder.path().join("small.csv").display().to_string();
    let output = run(&["run", "--listen", &address, "--db", &database], "");
    assert_eq!(output.status.code(), Some(1));
    let expected = format!("geogate: cannot listen on {address}: ");
    assert!(stderr(&output).contains(&expected), "{}", stderr(&output));
}

/// The number in a PID file.
fn pid(file: &Path) -> u32 {
    let text = std::fs::read_to_string(file).unwrap();
    text.trim().parse().unwrap()
}

#[test]
fn a_daemon_listens_when_its_starter_returns_and_takes_its_pid_file_along() {
    let folder = tempfile::tempdir().unwrap();
    let port = Port::reserve();
    let error_log = folder.path().join("error.log");
    let log = format!("[error_log]\ntarget = '{}'\n", error_log.display());
    let more = ["--daemon"];
    let mut parent = Process::start_with(&log, &folder.path().join("run"), port.address, &more);
    assert_eq!(parent.child.wait().unwrap().code(), Some(0));
    let file = folder.path().join("run/pid");
    let daemon = pid(&file);
    assert_ne!(daemon, parent.child.id());
    let response = parent.get("/api/ip_query?ip=1.1.1.1");
    assert!(response.starts_with("HTTP/1.1 200"), "{response}");
    // Nothing of the terminal is left to it.
    let mut rest = String::new();
    parent.messages.read_to_string(&mut rest).unwrap();
    assert!(rest.contains("access_log.target is \"standard\""), "{rest}");
    let session = |process: &str| {
        let status = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
        let (_, fields) = status.rsplit_once(')').unwrap();
        fields.split(' ').nth(4).map(str::to_owned).unwrap()
    };
    assert_eq!(session(&daemon.to_string()), daemon.to_string());
    assert_ne!(session("self"), daemon.to_string());
    signal("-TERM", daemon);
    while file.exists() {
        std::thread::sleep(Duration::from_millis(5));
    }
    while !std::fs::read_to_string(&error_log)
        .unwrap()
        .contains("stopped")
    {
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_daemon_that_cannot_listen_is_an_error_of_its_starter() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let address = listener.local_addr().unwrap();
    let mut parent = Process::start(folder.path(), address, &["--daemon"]);
    assert_eq!(parent.child.wait().unwrap().code(), Some(1));
    let mut said = String::new();
    parent.messages.read_to_string(&mut said).unwrap();
    let expected = format!("geogate: cannot listen on {address}: ");
    assert!(said.contains(&expected), "{said}");
    assert!(!folder.path().join("pid").exists());
}

/// The old process leaves the file that has the new one's number alone.
#[test]
fn the_pid_file_is_that_of_the_process_that_listens() {
    let folder = tempfile::tempdir().unwrap();
    let port = Port::reserve();
    let file = folder.path().join("pid");
    let mut first = Process::start(folder.path(), port.address, &["--daemon"]);
    assert_eq!(first.child.wait().unwrap().code(), Some(0));
    let old = pid(&file);
    // It cannot listen before the old one hands its listeners over, and returns before.
    let more = ["--daemon", "--upgrade"];
    let mut second = Process::start(folder.path(), port.address, &more);
    assert_eq!(second.child.wait().unwrap().code(), Some(0));
    assert_eq!(pid(&file), old);
    signal("-QUIT", old);
    while pid(&file) == old {
        std::thread::sleep(Duration::from_millis(5));
    }
    let new = pid(&file);
    while Path::new(&format!("/proc/{old}")).exists() {
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(pid(&file), new);
    assert!(
        second
            .get("/api/ip_query?ip=1.1.1.1")
            .starts_with("HTTP/1.1 200")
    );
    signal("-INT", new);
    while file.exists() {
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn without_a_command_the_options_are_those_of_run() {
    let folder = tempfile::tempdir().unwrap();
    let port = Port::reserve();
    let file = folder.path().join("geogate.toml");
    std::fs::write(&file, format!("[server]\nlisten = ['{}']\n", port.address)).unwrap();
    let mut child = geogate()
        .args(["-c", &file.display().to_string()])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let messages = BufReader::new(child.stderr.take().unwrap());
    let mut process = Process {
        child,
        address: port.address,
        messages,
        configs: folder,
    };
    process.wait_for(&format!("listening on {}", port.address));
    // Without a database the embedded one is there.
    let response = process.get("/api/ip_query?ip=114.114.114.114");
    assert!(response.contains("南京"), "{response}");
}
