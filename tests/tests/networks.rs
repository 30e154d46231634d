//! Servers on real networks that fail: hosts are network namespaces, and faults
//! are rules of their packet filters. Both sides go on, each sees what is there,
//! and what is mended heals. It takes root, `ip` and `nft`; where they are not to
//! be had, it says so and proves nothing.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    ops::Range,
    thread::JoinHandle,
    time::{Duration, Instant},
};

use circuit_core::{
    ErrorKind, ServerId, Target, Url,
    session::ClusterKey,
    wire::op::{How, ProcSpec},
};
use circuit_tests::{
    key,
    watch::Watch,
    wire::{Rules, Wire, skip},
};
use circuit_tokio::{Circuit, Dial, Server, ServerConfig};
use tokio::{sync::oneshot, time};

const PORT: u16 = 7700;
/// All know each other.
const BOOT: Duration = Duration::from_secs(15);
/// Who cannot be heard is gone.
const NOTICED: Duration = Duration::from_secs(20);
/// After the end of a fault all is as before.
const HEALED: Duration = Duration::from_secs(15);
/// What a call may take where packets are lost.
const PATIENCE: Duration = Duration::from_secs(30);

/// A server on a host of its own, and a client of it there.
struct Host {
    url: Url,
    watch: Watch,
    end: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

impl Host {
    async fn start(wire: &Wire, host: usize, advertise: Option<SocketAddr>, join: Target, key: &ClusterKey) -> Self {
        let listen = SocketAddr::new(wire.addr(host).into(), PORT);
        let config = ServerConfig { advertise, join: vec![join], ..ServerConfig::new(listen, key.clone()) };
        let (tell, told) = oneshot::channel();
        let (end, ended) = oneshot::channel();
        let key = key.clone();
        let thread = wire.on(host, async move || {
            let server = Server::start(config).await.expect("a server");
            // Few gateways lead a host to itself.
            let target = Target { addr: listen, expect: Some(server.url().id) };
            let circuit = Circuit::dial(Dial::targets(vec![target]).key(key)).await.expect("a client");
            assert!(tell.send((server.url(), circuit)).is_ok(), "somebody is to be told");
            let _ = ended.await;
            server.stop().await;
        });
        let (url, circuit) = told.await.expect("a server and a client");
        let watch = Watch::start(circuit).await.expect("a subscription");
        Self { url, watch, end, thread }
    }

    fn circuit(&self) -> &Circuit {
        self.watch.circuit()
    }
}

/// Servers that have found each other, counted from 0.
struct Cluster {
    hosts: Vec<Host>,
}

impl Cluster {
    /// A server on each of the first hosts of a wire, which join the first.
    async fn on(wire: &Wire, count: usize, key: &ClusterKey) -> Self {
        let join = Target { addr: SocketAddr::new(wire.addr(0).into(), PORT), expect: None };
        let mut hosts = Vec::new();
        for host in 0..count {
            hosts.push(Host::start(wire, host, None, join, key).await);
        }
        Self::of(hosts).await
    }

    async fn of(hosts: Vec<Host>) -> Self {
        let mut cluster = Self { hosts };
        cluster.all_see_all(BOOT).await;
        cluster
    }

    fn id(&self, host: usize) -> ServerId {
        self.hosts[host].url.id
    }

    async fn all_see_all(&mut self, within: Duration) {
        self.see(0..self.hosts.len(), within).await;
    }

    /// Before the time is over, each of these sees these and nobody else: as it
    /// happens, and as `ls /` lists it.
    async fn see(&mut self, group: Range<usize>, within: Duration) {
        let end = Instant::now() + within;
        let right: BTreeSet<ServerId> = group.clone().map(|host| self.id(host)).collect();
        for host in group {
            let watch = &mut self.hosts[host].watch;
            let left = end.saturating_duration_since(Instant::now());
            watch.until(left, |view| *view == right).await.unwrap_or_else(|error| panic!("host {host}: {error}"));
            assert_eq!(listed(watch.circuit()).await, right, "host {host}");
        }
    }

    /// `from` makes a channel at `at` and sends a message, which `at` takes.
    async fn work(&self, from: usize, at: usize) {
        let place = |host: &Host| {
            let anchor = host.circuit().server(self.id(at)).walk(&format!("from/{from}")).expect("a path");
            anchor.within(PATIENCE)
        };
        let (here, there) = (place(&self.hosts[from]), place(&self.hosts[at]));
        let words = format!("from {from} to {at}");
        let channel = here.make_chan(1).await.unwrap_or_else(|error| panic!("{words}: {error}"));
        channel.send(words.clone()).await.unwrap_or_else(|error| panic!("{words}: {error}"));
        let mut message = there.chan().expect("a channel").recv().await.expect("a message");
        assert_eq!(message.bytes().await.expect("its bytes"), words);
        message.confirm().await.expect("it is taken");
        here.scrub().await.unwrap_or_else(|error| panic!("{words}: {error}"));
    }

    /// All of a group work on each other.
    async fn all_work(&self, group: Range<usize>) {
        for from in group.clone() {
            for at in group.clone() {
                self.work(from, at).await;
            }
        }
    }

    /// All work on each other, again and again for so long.
    async fn all_go_on_for(&self, time: Duration) {
        let all = 0..self.hosts.len();
        self.go_on_until(Instant::now() + time, std::slice::from_ref(&all)).await;
    }

    /// Works within each group, again and again until then.
    async fn go_on_until(&self, end: Instant, groups: &[Range<usize>]) {
        let mut rounds = time::interval(Duration::from_millis(500));
        while Instant::now() < end {
            rounds.tick().await;
            for group in groups {
                self.all_work(group.clone()).await;
            }
        }
    }

    fn events(&self) -> Vec<(usize, usize)> {
        self.hosts.iter().map(|host| host.watch.events()).collect()
    }

    fn end(self) {
        for Host { watch, end, thread, .. } in self.hosts {
            drop((watch, end));
            thread.join().expect("a host");
        }
    }
}

/// What `ls /` lists.
async fn listed(circuit: &Circuit) -> BTreeSet<ServerId> {
    let entries = circuit.anchor("/").expect("the root").within(PATIENCE).view().await.expect("a listing");
    entries.iter().filter_map(|entry| entry.anchor.server_id()).collect()
}

#[tokio::test]
async fn halves_that_are_cut_for_a_minute_go_on_and_heal() {
    let wire = match Wire::with_rules("halves", 6) {
        Ok(wire) => wire,
        Err(why) => return skip("halves_that_are_cut_for_a_minute_go_on_and_heal", &why),
    };
    let mut cluster = Cluster::on(&wire, 6, &key()).await;
    let before = cluster.events();
    let ports = ["{ port1, port2, port3 }", "{ port4, port5, port6 }"];
    let rules = format!("iifname {} oifname {} drop\niifname {1} oifname {0} drop", ports[0], ports[1]);
    let cut = Rules::new(wire.hub(), "bridge cut", &[("filter hook forward priority 0;", &rules)]);
    let end = Instant::now() + Duration::from_secs(60);
    for half in [0..3, 3..6] {
        cluster.see(half, NOTICED).await;
    }
    let far = cluster.hosts[0].circuit().server(cluster.id(5)).walk("x").expect("a path");
    assert_eq!(far.make_chan(0).await.expect_err("it is gone").kind, ErrorKind::Unreachable);
    cluster.go_on_until(end, &[0..3, 3..6]).await;
    for half in [0..3, 3..6] {
        cluster.see(half, Duration::ZERO).await;
    }
    drop(cut);
    cluster.all_see_all(HEALED).await;
    cluster.all_work(0..6).await;
    let once = before.iter().map(|(joins, leaves)| (joins + 3, leaves + 3)).collect::<Vec<_>>();
    assert_eq!(cluster.events(), once, "each of the others left once and joined once");
    cluster.end();
}

#[tokio::test]
async fn one_way_cuts_are_gone_round_or_noticed_by_both() {
    let wire = match Wire::with_rules("one-way", 5) {
        Ok(wire) => wire,
        Err(why) => return skip("one_way_cuts_are_gone_round_or_noticed_by_both", &why),
    };
    let mut cluster = Cluster::on(&wire, 5, &key()).await;
    let before = cluster.events();
    // The first does not hear the second: a third helps, and nobody is missed.
    let cut = Rules::drop_incoming(wire.host(0), &format!("ip saddr {}", wire.addr(1)));
    cluster.all_go_on_for(Duration::from_secs(20)).await;
    drop(cut);
    cluster.all_see_all(Duration::ZERO).await;
    assert_eq!(cluster.events(), before);
    // The last hears nobody.
    let cut = Rules::drop_incoming(wire.host(4), "ip saddr 10.77.0.0/24");
    for side in [0..4, 4..5] {
        cluster.see(side, NOTICED).await;
    }
    cluster.go_on_until(Instant::now() + Duration::from_secs(5), &[0..4, 4..5]).await;
    drop(cut);
    cluster.all_see_all(HEALED).await;
    cluster.all_work(0..5).await;
    cluster.end();
}

#[tokio::test]
async fn a_fifth_of_all_packets_lost_costs_time_and_nothing_else() {
    let wire = match Wire::with_rules("loss", 4) {
        Ok(wire) => wire,
        Err(why) => return skip("a_fifth_of_all_packets_lost_costs_time_and_nothing_else", &why),
    };
    let mut cluster = Cluster::on(&wire, 4, &key()).await;
    let before = cluster.events();
    let lossy = |host| Rules::drop_incoming(wire.host(host), "numgen random mod 100 < 20");
    let loss: Vec<Rules> = (0..4).map(lossy).collect();
    cluster.all_go_on_for(Duration::from_secs(30)).await;
    drop(loss);
    cluster.all_see_all(HEALED).await;
    cluster.all_work(0..4).await;
    assert_eq!(cluster.events(), before, "nobody was held for gone");
    cluster.end();
}

#[tokio::test]
async fn a_client_needs_nothing_to_be_let_in() {
    let wire = match Wire::with_rules("firewall", 3) {
        Ok(wire) => wire,
        Err(why) => return skip("a_client_needs_nothing_to_be_let_in", &why),
    };
    let key = key();
    let cluster = Cluster::on(&wire, 2, &key).await;
    let only_answers = ("filter hook input priority 0; policy drop;", "ct state established,related accept");
    let _wall = Rules::new(wire.host(2), "inet wall", &[only_answers]);
    let (url, host) = (cluster.hosts[0].url, cluster.id(1));
    let (tell, told) = oneshot::channel();
    let (end, ended) = oneshot::channel::<()>();
    let inside = SocketAddr::new(wire.addr(2).into(), PORT);
    let desk = wire.on(2, async move || {
        let listener = tokio::net::TcpListener::bind(inside).await.expect("a listener");
        let circuit = Circuit::dial(Dial::url(url).key(key)).await.expect("a client");
        assert!(tell.send(circuit).is_ok(), "somebody is to be told");
        let _ = ended.await;
        drop(listener);
    });
    let circuit = told.await.expect("a client");
    let knocking = wire.on(0, async move || {
        time::timeout(Duration::from_secs(3), tokio::net::TcpStream::connect(inside)).await.is_err()
    });
    assert!(knocking.join().expect("a thread"), "somebody was let in");
    assert_eq!(listed(&circuit).await.len(), 2);
    let at = |name| circuit.server(host).walk(name).expect("a path");
    let spec = ProcSpec { path: "/bin/echo".into(), args: vec!["out".into()], ..ProcSpec::default() };
    let process = at("echo").make_proc(&spec).await.expect("a process");
    assert_eq!(process.stdout().next().await.expect("output").expect("some"), "out\n");
    let exit = process.wait().await.expect("its end").exit;
    assert!(exit.is_some_and(|exit| matches!(exit.how, How::Code(0))));

    // What it waits for comes while it cannot be reached, and reaches it after.
    let waiting = at("mail").make_chan(1).await.expect("a channel");
    let waiting = tokio::spawn(async move { waiting.recv().await?.bytes().await });
    at("echo").peek().await.expect("a process"); // calls keep their order
    let cut = Rules::drop_incoming(wire.host(2), "ip saddr 10.77.0.0/24");
    let sender = cluster.hosts[1].circuit().server(host).walk("mail").expect("a path");
    sender.chan().expect("a channel").send("news").await.expect("accepted");
    cluster.all_go_on_for(Duration::from_secs(10)).await;
    drop(cut);
    let news = time::timeout(HEALED, waiting).await.expect("in time").expect("a task");
    assert_eq!(news.expect("a message"), "news");
    drop((end, circuit));
    desk.join().expect("the client's host");
    cluster.end();
}

/// A gateway's rules: its address is shared by the hosts behind it, of which each
/// has a port there, also for the others behind it.
fn gateway(wire: &Wire, hosts: usize, public: Ipv4Addr) -> Rules {
    let forward = |host: usize| {
        let (port, inside) = (public_port(host), wire.addr(host));
        format!("ip daddr {public} tcp dport {port} dnat to {inside}:{PORT}\n")
    };
    let forwards: String = (0..hosts).map(forward).collect();
    Rules::new(
        wire.hub(),
        "ip gateway",
        &[
            ("nat hook prerouting priority -100;", &forwards),
            ("nat hook postrouting priority 100;", "oifname wan masquerade\nct status dnat oifname wire masquerade"),
        ],
    )
}

fn public_port(host: usize) -> u16 {
    7001 + u16::try_from(host).expect("few hosts")
}

#[tokio::test]
async fn data_centres_behind_address_translation_are_one_circuit() {
    const TEST: &str = "data_centres_behind_address_translation_are_one_circuit";
    let public = [Ipv4Addr::new(198, 51, 100, 1), Ipv4Addr::new(198, 51, 100, 2)];
    // Inside, both have the same addresses.
    let made = Wire::with_rules("east", 3).and_then(|east| {
        let west = Wire::with_rules("west", 3)?;
        east.connect(&west, public)?;
        Ok([east, west])
    });
    let centres = match made {
        Ok(centres) => centres,
        Err(why) => return skip(TEST, &why),
    };
    let _gateways = [gateway(&centres[0], 3, public[0]), gateway(&centres[1], 3, public[1])];
    let key = key();
    let join = Target { addr: (IpAddr::from(public[0]), public_port(0)).into(), expect: None };
    let mut hosts = Vec::new();
    for (wire, public) in centres.iter().zip(public) {
        for host in 0..3 {
            let advertised = SocketAddr::from((public, public_port(host)));
            hosts.push(Host::start(wire, host, Some(advertised), join, &key).await);
        }
    }
    let mut cluster = Cluster::of(hosts).await;
    cluster.all_work(0..6).await;
    let apart = |wire: &Wire| {
        Rules::new(wire.hub(), "inet apart", &[("filter hook prerouting priority -300;", "iifname wan drop")])
    };
    let cut = centres.each_ref().map(apart);
    let end = Instant::now() + Duration::from_secs(30);
    for side in [0..3, 3..6] {
        cluster.see(side, NOTICED).await;
    }
    cluster.go_on_until(end, &[0..3, 3..6]).await;
    drop(cut);
    cluster.all_see_all(HEALED).await;
    cluster.all_work(0..6).await;
    cluster.end();
}
