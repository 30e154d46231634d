//! An image that is not there is pulled, from a registry that the test is.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    path::Path,
    process::Command,
    thread,
};

use circuit_tests::engine;

use super::bed;

const MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";

#[test]
fn an_image_that_is_not_there_is_pulled() {
    let Some(bed) = bed("-docker") else { return };
    let registry = serve(bed.path());
    let image = format!("{registry}/some/image");
    let spec = format!(r#"{{"Image": "{image}"}}"#);
    let done = bed.fed("circuit mkdkr $X/c", &spec);
    assert_eq!(done.status, 0, "{done:?}");
    assert!(done.stderr.starts_with(&format!("circuit: pulling {image}\n")), "{done:?}");
    for word in ["Pull complete", "Downloaded newer image"] {
        assert!(done.stderr.contains(word), "{done:?}");
    }
    bed.ok("circuit wait $X/c");
    assert_eq!(bed.ok("circuit stdout $X/c"), "pulled\n");
    assert_eq!(bed.fed("circuit mkdkr $X/d", &spec).stderr, "", "it is there now");
    bed.ok(&format!("circuit scrub -kill $X/c; circuit scrub -kill $X/d; docker rmi {image} > /dev/null"));
}

/// Serves one image to whoever asks: the address.
fn serve(folder: &Path) -> String {
    engine::tar(folder).expect("an image");
    let tar = folder.join("tar");
    let (layer, size) = (digest(&tar), fs::metadata(&tar).expect("a file").len());
    let config = format!(
        r#"{{"architecture":"amd64","os":"linux","config":{{"Cmd":["/bin/echo","pulled"]}},"rootfs":{{"type":"layers","diff_ids":["{layer}"]}}}}"#
    );
    fs::write(folder.join("image"), &config).expect("written");
    let id = digest(&folder.join("image"));
    let manifest = format!(
        r#"{{"schemaVersion":2,"mediaType":"{MANIFEST}","config":{{"mediaType":"application/vnd.docker.container.image.v1+json","size":{},"digest":"{id}"}},"layers":[{{"mediaType":"application/vnd.docker.image.rootfs.diff.tar.gzip","size":{size},"digest":"{layer}"}}]}}"#,
        config.len()
    );
    fs::write(folder.join("manifest"), &manifest).expect("written");
    let manifest_digest = digest(&folder.join("manifest"));
    let files = [
        (id, fs::read(folder.join("image")).expect("read")),
        (layer, fs::read(tar).expect("read")),
        (manifest_digest, manifest.into_bytes()),
    ];
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("its address").to_string();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // Whoever does not speak HTTP goes unanswered.
            let _ = answer(stream, &files);
        }
    });
    address
}

/// Answers one question; the last of the files is what tags name.
fn answer(mut stream: TcpStream, files: &[(String, Vec<u8>); 3]) -> std::io::Result<()> {
    let mut request = BufReader::new(stream.try_clone()?);
    let mut line = String::new();
    request.read_line(&mut line)?;
    let mut header = String::from("-");
    while !header.trim().is_empty() {
        header.clear();
        request.read_line(&mut header)?;
    }
    let mut words = line.split(' ');
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let file = files.iter().find(|(digest, _)| path.ends_with(digest.as_str()));
    let file = file.or_else(|| path.contains("/manifests/").then_some(&files[2]));
    let (digest, body) = file.map_or(("", &b"{}"[..]), |(digest, body)| (digest.as_str(), body.as_slice()));
    let kind = if path.contains("/manifests/") { MANIFEST } else { "application/octet-stream" };
    write!(
        stream,
        "HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nDocker-Content-Digest: {digest}\r\nConnection: close\r\n\r\n",
        body.len()
    )?;
    if method == "GET" { stream.write_all(body) } else { Ok(()) }
}

fn digest(file: &Path) -> String {
    let output = Command::new("sha256sum").arg(file).output().expect("a sum");
    let sum = String::from_utf8(output.stdout).expect("text");
    format!("sha256:{}", sum.split(' ').next().expect("a word"))
}
