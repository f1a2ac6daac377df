//! Being asked to stop: by a signal, or by whoever holds the handle.
//!
//! TERM finishes what is under way, QUIT hands the listeners to a new process first, INT leaves at
//! once. (HUP and USR1 are heard here too, and passed on.) Before listeners are closed, connections
//! get a moment to be closed by their own responses: pingora drops idle ones when it closes listeners,
//! with the request that may be on its way. In a hand-over it waits five seconds itself.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use pingora::server::{ShutdownSignal, ShutdownSignalWatch};
use signal_hook::consts::{SIGHUP, SIGUSR1};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use super::error_log;
use super::reload::ReloadHandle;
use crate::gateway::{Drain, Gateway};

/// How long open connections are told to close before listeners are.
const LAME_DUCK: Duration = Duration::from_secs(1);

/// How long [`StopHandle::stop`] lets requests finish.
const HANDLE_PATIENCE: Duration = Duration::from_secs(10);

/// What makes a server stop.
pub enum Stop {
    /// Signals to the process: TERM, QUIT, INT.
    Signals(EarlySignals),
    /// [`StopHandle::stop`].
    Handle(StopReceiver),
}

/// HUP and USR1 that come while the gateway is still on its way up. By itself the system would end
/// the process.
pub struct EarlySignals {
    hangup: Arc<AtomicBool>,
    user: Arc<AtomicBool>,
}

impl EarlySignals {
    fn heard() -> std::io::Result<Self> {
        let heard = |signal| {
            let flag = Arc::default();
            signal_hook::flag::register(signal, Arc::clone(&flag)).map(|_| flag)
        };
        Ok(EarlySignals {
            hangup: heard(SIGHUP)?,
            user: heard(SIGUSR1)?,
        })
    }
}

/// What signals besides those that stop ask of.
pub(super) struct Helpers {
    /// HUP.
    pub reload: ReloadHandle,
    /// USR1.
    pub gateway: Arc<Gateway>,
}

/// Stops a server that runs within this process.
pub struct StopHandle(watch::Sender<bool>);

/// The other end of a [`StopHandle`].
pub struct StopReceiver(watch::Receiver<bool>);

impl Stop {
    /// A server that runs until a signal ends it. Signals that do not end it are kept from now on
    /// until it can act on them, so this comes first of all.
    ///
    /// # Errors
    /// If the system refuses.
    pub fn signals() -> std::io::Result<Stop> {
        EarlySignals::heard().map(Stop::Signals)
    }

    /// A server that runs until the handle says stop, or is dropped.
    #[must_use]
    pub fn handle() -> (StopHandle, Stop) {
        let (sender, receiver) = watch::channel(false);
        (StopHandle(sender), Stop::Handle(StopReceiver(receiver)))
    }

    /// Splits into the part that pingora waits for and the part that the caller waits for.
    pub(super) fn watch(self, drain: Arc<Drain>, helpers: Helpers) -> Stopping {
        let (told, asked) = channel();
        Stopping {
            signal: Watch {
                stop: self,
                drain,
                helpers,
                told: Mutex::new(told),
            },
            asked: Asked(asked),
        }
    }
}

impl StopHandle {
    /// Finishes the requests under way, then stops.
    pub fn stop(&self) {
        // The server may have ended by itself.
        let _ = self.0.send(true);
    }
}

/// The two ends of a stop to come.
pub(super) struct Stopping {
    /// For pingora.
    pub signal: Watch,
    /// For whoever started the server.
    pub asked: Asked,
}

/// How a server came to stop.
#[derive(Clone, Copy, Debug)]
pub(super) enum Stopped {
    /// It was asked to leave at once.
    AtOnce,
    /// It was asked at this time to finish what is under way.
    Gracefully(Instant),
    /// Nobody asked.
    ByItself,
}

/// Hears when the stop comes.
pub(super) struct Asked(Receiver<Stopped>);

impl Asked {
    /// Waits until the server is asked to stop, or has `ended`.
    pub fn wait(&self, ended: impl Fn() -> bool) -> Stopped {
        loop {
            match self.0.recv_timeout(Duration::from_millis(200)) {
                Ok(stopped) => return stopped,
                Err(RecvTimeoutError::Timeout) if !ended() => {}
                Err(_) => return Stopped::ByItself,
            }
        }
    }
}

/// Waits for the stop on pingora's side.
pub(super) struct Watch {
    stop: Stop,
    drain: Arc<Drain>,
    helpers: Helpers,
    told: Mutex<Sender<Stopped>>,
}

impl Watch {
    async fn wait_for_requests(&self) {
        let start = Instant::now();
        while self.drain.under_way() > 0 && start.elapsed() < HANDLE_PATIENCE {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}

#[async_trait]
impl ShutdownSignalWatch for Watch {
    async fn recv(&self) -> ShutdownSignal {
        let signal = match &self.stop {
            Stop::Signals(early) => signals(early, &self.helpers).await,
            Stop::Handle(receiver) => {
                let mut receiver = receiver.0.clone();
                // An error means that the handle was dropped.
                let _ = receiver.wait_for(|stop| *stop).await;
                ShutdownSignal::FastShutdown
            }
        };
        self.drain.begin();
        let stopped = match signal {
            ShutdownSignal::FastShutdown => {
                if let Stop::Handle(_) = self.stop {
                    self.wait_for_requests().await;
                }
                Stopped::AtOnce
            }
            ShutdownSignal::GracefulTerminate => {
                log::info!("stopping: requests under way are finished first");
                tokio::time::sleep(LAME_DUCK).await;
                Stopped::Gracefully(Instant::now())
            }
            ShutdownSignal::GracefulUpgrade => {
                log::info!("handing the listeners over; requests under way are finished first");
                Stopped::Gracefully(Instant::now())
            }
        };
        let told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        // Nobody waits any more if the server failed to start.
        let _ = told.send(stopped);
        signal
    }
}

impl Helpers {
    fn hangup(&self) {
        log::info!("HUP: reading the configuration again");
        self.reload.reload();
    }

    fn user(&self) {
        log::info!("USR1: opening the log files again");
        self.gateway
            .access_logs()
            .iter()
            .for_each(|log| log.reopen());
        error_log::reopen();
        log::info!("USR1: log files were opened again");
    }
}

async fn signals(early: &EarlySignals, helpers: &Helpers) -> ShutdownSignal {
    let listen = |kind| signal(kind).expect("the runtime listens to signals");
    let mut terminate = listen(SignalKind::terminate());
    let mut quit = listen(SignalKind::quit());
    let mut interrupt = listen(SignalKind::interrupt());
    let mut hangup = listen(SignalKind::hangup());
    let mut user = listen(SignalKind::user_defined1());
    if early.hangup.load(Ordering::Relaxed) {
        helpers.hangup();
    }
    if early.user.load(Ordering::Relaxed) {
        helpers.user();
    }
    loop {
        tokio::select! {
            _ = terminate.recv() => return ShutdownSignal::GracefulTerminate,
            _ = quit.recv() => return ShutdownSignal::GracefulUpgrade,
            _ = interrupt.recv() => return ShutdownSignal::FastShutdown,
            _ = hangup.recv() => helpers.hangup(),
            _ = user.recv() => helpers.user(),
        }
    }
}
