//! An application and its database, each in a container, which meet by name.
//!
//! ```text
//! cargo run --example app-with-database -- URL [IMAGE]
//! ```
//!
//! The database keeps words under names, in files. It is told nothing of the
//! application, and the application nothing of where the database is: it asks a
//! name server of the circuit for `database.shop`. It counts three visitors, and
//! what the database says is printed.
//!
//! IMAGE has a shell with `nc` and `nslookup`: busybox, if nothing is said. One
//! of the servers makes containers: it was started with `-docker`. `CIRCUIT_HMAC`
//! names a file with the circuit's key.

use std::{
    env,
    error::Error,
    net::{IpAddr, SocketAddr},
    path::Path,
};

use bytes::Bytes;
use circuit_core::wire::op::{ContainerSpec, How};
use circuit_tokio::{
    Circuit, Dial,
    client::{Anchor, Output, Proc},
    read_key,
};
use tokio::signal::ctrl_c;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// What the shell of the database does.
const DATABASE: &str = r#"
mkdir -p /table
cat > /serve << 'SERVE'
read -r word key value
case $word in
set) echo "$value" > "/table/$key" ;;
get) cat "/table/$key" 2> /dev/null || echo 0 ;;
esac
SERVE
trap exit TERM
nc -ll -p 5432 -e /bin/sh /serve &
wait
"#;

/// What that of the application does.
const APP: &str = r#"
database=$(nslookup -type=a database.shop "$NAMES" | sed -n 's/^Address: //p')
[ -n "$database" ] || { echo "there is no database.shop" >&2; exit 1; }
echo "database.shop is at $database"
ask() { echo "$*" | nc "$database" 5432; }
until visitors=$(ask get visitors); do sleep 1; done
for visitor in Ann Ben Cleo; do
    visitors=$((visitors + 1))
    ask set visitors "$visitors"
    echo "$visitor is visitor $(ask get visitors)"
done
"#;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let mut args = env::args().skip(1);
    let url = args.next().ok_or("say URL [IMAGE]")?;
    let image = args.next().unwrap_or_else(|| "busybox".to_owned());
    let mut dial = Dial::url(url.parse()?);
    if let Some(file) = env::var_os("CIRCUIT_HMAC") {
        dial = dial.key(read_key(Path::new(&file))?);
    }
    let circuit = Circuit::dial(dial).await?;
    let (shop, database) = found(&circuit, &image).await?;
    let result = tokio::select! {
        result = serve(&shop, &database, &image) => result,
        _ = ctrl_c() => Err("interrupted".into()),
    };
    for name in ["app", "names", "database"] {
        // What went wrong before may be that it is not there.
        let _ = shop.walk(name)?.scrub_and_kill().await;
    }
    circuit.close().await;
    result
}

/// The shop, with its database, on the first server that makes containers: each
/// part on its own would do where the containers of all hosts share a network.
async fn found(circuit: &Circuit, image: &str) -> Result<(Anchor, Proc)> {
    let mut why = "there is no server".to_owned();
    for server in circuit.anchor("/")?.view().await? {
        let shop = server.anchor.walk(&format!("shop-{}", std::process::id()))?;
        match container(&shop.walk("database")?, image, Vec::new(), DATABASE).await {
            Ok(database) => return Ok((shop, database)),
            Err(error) => why = error.to_string(),
        }
    }
    Err(format!("no server has made the database: {why}").into())
}

/// Starts a container, whose shell does what `script` says.
async fn container(
    at: &Anchor,
    image: &str,
    env: Vec<String>,
    script: &'static str,
) -> std::result::Result<Proc, circuit_core::Error> {
    let spec = ContainerSpec { image: image.to_owned(), path: "/bin/sh".to_owned(), env, ..ContainerSpec::default() };
    let container = at.make_container(&spec).await?;
    let mut stdin = container.stdin();
    stdin.write(Bytes::from_static(script.as_bytes())).await?;
    stdin.finish().await?;
    Ok(container)
}

/// Names the database, and has the application find it.
async fn serve(shop: &Anchor, database: &Proc, image: &str) -> Result<()> {
    // Containers reach their host at the gateway of their network.
    let gateway = network(database, "Gateway").await?;
    let names = shop.walk("names")?.make_dns(Some(SocketAddr::new(gateway, 0))).await?;
    names.set(&format!("database.shop. 60 IN A {}", network(database, "IPAddress").await?)).await?;
    let env = vec![format!("NAMES={}", names.stat().await?.addr)];
    let app = container(&shop.walk("app")?, image, env, APP).await?;
    print!("{}", all(app.stdout()).await?);
    eprint!("{}", all(app.stderr()).await?);
    match app.wait().await?.exit.map(|exit| exit.how) {
        Some(How::Code(0)) => Ok(()),
        other => Err(format!("the application has failed: {other:?}").into()),
    }
}

/// An address of a container, in the words of its engine.
async fn network(container: &Proc, field: &str) -> Result<IpAddr> {
    let inspection: serde_json::Value = serde_json::from_str(&container.inspect().await?.inspection)?;
    Ok(inspection["NetworkSettings"][field].as_str().unwrap_or_default().parse()?)
}

async fn all(mut output: Output) -> Result<String> {
    let mut bytes = Vec::new();
    while let Some(piece) = output.next().await? {
        bytes.extend_from_slice(&piece);
    }
    output.finish().await?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
