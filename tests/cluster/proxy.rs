//! A network between two processes: a proxy in user space that holds back what goes one way or both, is slow, or drops
//! its connections.
//! Deliberately absent: losing single bytes, which TCP would send again.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    runtime::{Handle, Runtime},
    sync::watch,
};

/// Bytes passed on at once.
const CHUNK: usize = 16 << 10;

/// What of the network is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cut {
    /// Everything.
    Both,
    /// From those who dial.
    Up,
    /// To those who dial.
    Down,
}

/// How the network is.
#[derive(Debug, Clone, Copy, Default)]
struct Weather {
    cut: Option<Cut>,
    /// Bytes in a second, each way of each connection; `None`: as fast as it goes.
    rate: Option<u64>,
    /// Connections that were made under a lower number end.
    storm: u64,
    /// Of connections that were made under a lower number nothing passes any more, and nobody is told.
    amnesia: u64,
}

/// A network; the proxies on it end with it.
pub(crate) struct Network {
    weather: watch::Sender<Weather>,
    passed: Arc<AtomicU64>,
    runtime: Option<Runtime>,
}

impl Network {
    /// Everything passes.
    pub(crate) fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        Self { weather: watch::channel(Weather::default()).0, passed: Arc::default(), runtime: Some(runtime) }
    }

    fn tokio(&self) -> &Handle {
        self.runtime.as_ref().expect("it lives as long as this").handle()
    }

    /// A new address that leads to this one.
    pub(crate) fn to(&self, address: &str) -> SocketAddr {
        let (to, weather, tokio) = (address.to_owned(), self.weather.subscribe(), self.tokio().clone());
        let passed = self.passed.clone();
        let listener = self.tokio().block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let here = listener.local_addr().unwrap();
        self.tokio().spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let (to, weather, passed) = (to.clone(), weather.clone(), passed.clone());
                tokio.spawn(async move {
                    let Ok(far) = TcpStream::connect(&to).await else { return };
                    connect(near, far, weather, &passed).await;
                });
            }
        });
        here
    }

    /// Holds back what goes this way, until it is healed.
    pub(crate) fn cut(&self, cut: Cut) {
        self.weather.send_modify(|weather| weather.cut = Some(cut));
    }

    /// So many bytes in a second, each way of each connection.
    pub(crate) fn slow(&self, rate: u64) {
        self.weather.send_modify(|weather| weather.rate = Some(rate));
    }

    /// Ends every connection; new ones are made as before.
    pub(crate) fn drop_connections(&self) {
        self.weather.send_modify(|weather| weather.storm += 1);
    }

    /// Lets nothing more of any connection pass, as a router that was restarted; new ones are made as before.
    pub(crate) fn forget_connections(&self) {
        self.weather.send_modify(|weather| weather.amnesia += 1);
    }

    /// Bytes that passed so far, both ways.
    pub(crate) fn passed(&self) -> u64 {
        self.passed.load(Ordering::Relaxed)
    }

    /// Asks for [`Self::passed`] later.
    pub(crate) fn counter(&self) -> impl Fn() -> u64 + use<> {
        let passed = self.passed.clone();
        move || passed.load(Ordering::Relaxed)
    }

    /// Everything passes again, also what was held back.
    pub(crate) fn heal(&self) {
        self.weather.send_modify(|weather| (weather.cut, weather.rate) = (None, None));
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Passes on both ways until one end closes or a storm comes.
async fn connect(near: TcpStream, far: TcpStream, mut weather: watch::Receiver<Weather>, passed: &AtomicU64) {
    let born = *weather.borrow();
    let ((near_in, near_out), (far_in, far_out)) = (near.into_split(), far.into_split());
    let way = |cut| Way { cut, born: born.amnesia, weather: weather.clone(), passed };
    let (up, down) = (way(Cut::Up), way(Cut::Down));
    tokio::select! {
        () = up.pass(near_in, far_out) => {}
        () = down.pass(far_in, near_out) => {}
        _ = weather.wait_for(|weather| weather.storm > born.storm) => {}
    }
}

/// One way of a connection.
struct Way<'a> {
    cut: Cut,
    born: u64,
    weather: watch::Receiver<Weather>,
    passed: &'a AtomicU64,
}

impl Way<'_> {
    async fn pass(mut self, mut from: OwnedReadHalf, mut to: OwnedWriteHalf) {
        let mut buffer = vec![0; CHUNK];
        loop {
            let Ok(read) = from.read(&mut buffer).await else { return };
            let (way, born) = (self.cut, self.born);
            let open = |weather: &Weather| {
                weather.amnesia == born && weather.cut.is_none_or(|cut| cut != Cut::Both && cut != way)
            };
            let Ok(rate) = self.weather.wait_for(open).await.map(|weather| weather.rate) else { return };
            if read == 0 || to.write_all(&buffer[..read]).await.is_err() {
                return;
            }
            self.passed.fetch_add(read as u64, Ordering::Relaxed);
            if let Some(rate) = rate {
                tokio::time::sleep(Duration::from_secs_f64(read as f64 / rate as f64)).await;
            }
        }
    }
}
