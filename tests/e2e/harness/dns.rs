//! A name server that says what it is told to say.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use hickory_resolver::proto::op::{Message, OpCode, ResponseCode};
use hickory_resolver::proto::rr::rdata::{A, AAAA, SRV};
use hickory_resolver::proto::rr::{Name, RData, Record};

/// As short as names are asked for again at all.
const SHORTEST: u32 = 1;

/// Names in full, with their dot at the end.
type Zone = Arc<Mutex<HashMap<String, Vec<RData>>>>;

pub struct NameServer {
    pub address: SocketAddr,
    zone: Zone,
    questions: Arc<AtomicUsize>,
}

impl NameServer {
    pub fn start() -> NameServer {
        NameServer::with_time_to_live(SHORTEST)
    }

    /// Its answers may be kept for so many seconds.
    pub fn with_time_to_live(seconds: u32) -> NameServer {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let server = NameServer {
            address: socket.local_addr().unwrap(),
            zone: Zone::default(),
            questions: Arc::default(),
        };
        let (zone, questions) = (Arc::clone(&server.zone), Arc::clone(&server.questions));
        // It ends with the process: nothing tells a socket of datagrams that nobody is left.
        std::thread::spawn(move || serve(&socket, &zone, &questions, seconds));
        server
    }

    /// How many questions were answered.
    pub fn questions(&self) -> usize {
        self.questions.load(Ordering::SeqCst)
    }

    /// From now on a name has these addresses; without any there is no such name.
    pub fn set_addresses(&self, name: &str, addresses: &[&str]) {
        let data = addresses.iter().map(|address| match address.parse() {
            Ok(IpAddr::V4(address)) => RData::A(A(address)),
            Ok(IpAddr::V6(address)) => RData::AAAA(AAAA(address)),
            Err(error) => panic!("{address}: {error}"),
        });
        self.set(name, data.collect());
    }

    /// From now on a service has these targets: priority, weight, port, name.
    pub fn set_targets(&self, name: &str, targets: &[(u16, u16, u16, &str)]) {
        let data = targets.iter().map(|&(priority, weight, port, target)| {
            let target = Name::from_utf8(target).unwrap();
            RData::SRV(SRV::new(priority, weight, port, target))
        });
        self.set(name, data.collect());
    }

    fn set(&self, name: &str, data: Vec<RData>) {
        self.zone.lock().unwrap().insert(name.to_owned(), data);
    }
}

fn serve(socket: &UdpSocket, zone: &Zone, questions: &AtomicUsize, time_to_live: u32) {
    let mut buffer = [0; 4096];
    while let Ok((length, from)) = socket.recv_from(&mut buffer) {
        let Ok(question) = Message::from_vec(&buffer[..length]) else {
            continue;
        };
        let mut answer = Message::response(question.metadata.id, OpCode::Query);
        for query in &question.queries {
            answer.add_query(query.clone());
            let name = query.name().to_utf8();
            let zone = zone.lock().unwrap();
            let data = zone.get(&name).map_or(&[][..], |data| data);
            if data.is_empty() {
                answer.metadata.response_code = ResponseCode::NXDomain;
            }
            let right = data
                .iter()
                .filter(|d| d.record_type() == query.query_type());
            for data in right {
                let record = Record::from_rdata(query.name().clone(), time_to_live, data.clone());
                answer.add_answer(record);
            }
        }
        questions.fetch_add(1, Ordering::SeqCst);
        let _ = socket.send_to(&answer.to_vec().unwrap(), from);
    }
}
