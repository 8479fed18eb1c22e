use std::rc::Rc;
use std::sync::Arc;
use arc_swap::ArcSwap;
use transom_proxy::destination::*;
use transom_proxy::*;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let listen: std::net::SocketAddr = args[1].parse().unwrap();
    let members: Vec<_> = args[2..].iter().enumerate().map(|(i, to)| {
        let address: std::net::SocketAddr = to.parse().unwrap();
        transom_balance::members::PoolMember::new(Endpoint {
            key: i as u64,
            target: transom_net::Target { address: transom_net::Address::Tcp(address), tls: None },
            name: to.clone(), authority: to.clone(), pool: "o".into(),
            keep_alive: KeepAlive { most: 1024, ..KeepAlive::default() },
        }, 1, None)
    }).collect();
    let pool = transom_balance::Pool::new("o", members, None);
    let site = site::Site {
        name: "web".into(), generation: 1,
        router: route::Router::build(vec![route::Rule { hosts: vec![], paths: vec![], methods: vec![], conditions: vec![] }]).unwrap(),
        routes: vec![site::Route { name: "all".into(), chain: vec![], action: Box::new(action::Forward {
            destination: Arc::new(pool), host: Default::default(), retries: 1, connect_retries: 3,
            response_limits: codec::head::HeadLimits::RESPONSE, upgrade: true }),
            body_limit: Some(10 << 20), timeouts: Default::default(), pages: Default::default() }],
        limits: site::Limits { requests: u64::MAX, ..Default::default() }, timeouts: Default::default(), paths: Default::default(), trusted: vec![],
        forwarded: Default::default(), request_id: Default::default(), pages: Default::default(), sinks: vec![],
    };
    let swap = Arc::new(ArcSwap::from_pointee(site));
    let h = transom_net::worker::start(0, move |worker| async move {
        let socket = socket2::Socket::new(socket2::Domain::for_address(listen), socket2::Type::STREAM, None).unwrap();
        socket.set_reuse_address(true).unwrap();
        socket.set_nonblocking(true).unwrap();
        socket.set_tcp_nodelay(true).unwrap();
        socket.bind(&listen.into()).unwrap();
        socket.listen(4096).unwrap();
        let listener = tokio::net::TcpListener::from_std(socket.into()).unwrap();
        let local = Rc::new(local::Local::new(worker.clone()));
        tokio::task::spawn_local(client::pool::sweep(local.clone()));
        let serving = serve::Serving::new(site::Sites::new(swap), local);
        loop {
            let Ok((socket, address)) = listener.accept().await else { continue };
            let peer = Rc::new(peer::Peer { address, local: listen, tls: None });
            let stream = transom_net::Stream::tcp(socket, worker.clone());
            tokio::task::spawn_local(serve::h1::serve(stream, peer, serving.clone()));
        }
    }).unwrap();
    h.join().unwrap().unwrap();
}
