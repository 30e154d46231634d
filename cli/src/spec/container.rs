//! The description of a container.

use std::io::Read;

use circuit_core::wire::op::{ContainerSpec, HostNamespace};

use super::{Fields, read};

/// Reads the description of a container.
pub(crate) fn read_container(input: impl Read) -> Result<ContainerSpec, String> {
    let mut fields: Fields = read(input)?;
    let spec = ContainerSpec {
        image: fields.take("Image")?.ok_or("Image is missing: it names what the container is made of")?,
        memory: fields.take("Memory")?.unwrap_or_default(),
        cpu_shares: fields.take("CpuShares")?.unwrap_or_default(),
        lxc: fields.take("Lxc")?.unwrap_or_default(),
        volume: fields.take("Volume")?.unwrap_or_default(),
        dir: fields.take("Dir")?.unwrap_or_default(),
        entry: fields.take("Entry")?.unwrap_or_default(),
        env: fields.take("Env")?.unwrap_or_default(),
        path: fields.take("Path")?.unwrap_or_default(),
        args: fields.take("Args")?.unwrap_or_default(),
        scrub: fields.take("Scrub")?.unwrap_or_default(),
        privileged: fields.take("Privileged")?.unwrap_or_default(),
        host_namespaces: namespaces(fields.take("HostNamespaces")?.unwrap_or_default())?,
    };
    fields.none_left(
        "Image, Memory, CpuShares, Lxc, Volume, Dir, Entry, Env, Path, Args, Scrub, Privileged, HostNamespaces",
    )?;
    Ok(spec)
}

fn namespaces(mut words: Vec<String>) -> Result<Vec<HostNamespace>, String> {
    words.sort_unstable();
    words.dedup();
    let namespace = |word: String| {
        let known = HostNamespace::ALL.into_iter().find(|namespace| namespace.word() == word);
        known.ok_or_else(|| format!("HostNamespaces: {word:?} is none of net, pid, ipc and uts"))
    };
    words.into_iter().map(namespace).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str, why: &str) {
        let error = read_container(text.as_bytes()).expect_err(text);
        assert!(error.contains(why), "{text}: {error}");
    }

    #[test]
    fn the_description_of_the_readme_is_read() {
        let text = r#"{
            "Image": "ubuntu",
            "Memory": 1000000000,
            "CpuShares": 3,
            "Lxc": ["lxc.cgroup.cpuset.cpus = 0,1"],
            "Volume": ["/webapp", "/src/webapp:/opt/webapp:ro"],
            "Dir": "/",
            "Entry": "",
            "Env": ["PATH=/usr/bin"],
            "Path": "/bin/ls",
            "Args": ["/"],
        }"#;
        let spec = read_container(text.as_bytes()).expect("a container");
        assert_eq!((spec.image.as_str(), spec.memory, spec.cpu_shares), ("ubuntu", 1_000_000_000, 3));
        assert_eq!((spec.lxc.len(), spec.volume.len(), spec.dir.as_str(), spec.entry.as_str()), (1, 2, "/", ""));
        assert_eq!(
            (spec.path.as_str(), spec.args, spec.env),
            ("/bin/ls", vec!["/".into()], vec!["PATH=/usr/bin".into()])
        );
    }

    #[test]
    fn what_is_wrong_is_named() {
        refused("{}", "Image is missing");
        refused(r#"{"Image": "a", "Memory": -1}"#, "Memory: invalid value");
        refused(r#"{"Image": "a", "Memory": "1g"}"#, "Memory: invalid type");
        refused(r#"{"Image": "a", "Volumes": []}"#, "\"Volumes\"");
        refused(r#"{"Image": "a", "HostNamespaces": ["mnt"]}"#, "\"mnt\"");
    }
}
