//! What the daemons on this machine cost: processor time, and bytes on the loopback interface. From
//! `/proc`, so Linux only; elsewhere there are no figures.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use crate::client::Endpoint;

/// A reading of the meters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Costs {
    /// The processor time of all daemons.
    pub(super) processor: Duration,
    /// The bytes that went over the loopback interface, of everybody.
    pub(super) loopback: u64,
}

/// The processes of daemons.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Meter(BTreeSet<u32>);

impl Meter {
    /// Finds the processes that listen at these endpoints; `None` if one cannot be found.
    pub(super) fn find<'a>(endpoints: impl Iterator<Item = &'a Endpoint>) -> Option<Self> {
        endpoints.map(|endpoint| owner(port(endpoint)?)).collect::<Option<_>>().map(Self)
    }

    /// Reads the meters.
    pub(super) fn read(&self) -> Option<Costs> {
        let processor = self.0.iter().map(|&process| processor(process)).sum::<Option<_>>()?;
        let devices = std::fs::read_to_string("/proc/net/dev").ok()?;
        Some(Costs { processor, loopback: loopback(&devices)? })
    }
}

impl Costs {
    /// What came since an earlier reading.
    pub(super) fn since(&self, earlier: &Self) -> Self {
        Self {
            processor: self.processor.saturating_sub(earlier.processor),
            loopback: self.loopback.saturating_sub(earlier.loopback),
        }
    }
}

fn port(endpoint: &Endpoint) -> Option<u16> {
    endpoint.authority().rsplit(':').next()?.parse().ok()
}

/// Finds the process that listens on a port.
fn owner(port: u16) -> Option<u32> {
    let sockets = ["/proc/net/tcp", "/proc/net/tcp6"];
    let tables = sockets.iter().filter_map(|path| std::fs::read_to_string(path).ok());
    let link = tables.filter_map(|table| listener(&table, port)).next()?;
    let link = format!("socket:[{link}]");
    let processes = std::fs::read_dir("/proc").ok()?.filter_map(Result::ok);
    let ids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    ids.into_iter().find(|id| {
        let files = std::fs::read_dir(format!("/proc/{id}/fd")).into_iter().flatten();
        let targets = files.filter_map(|file| std::fs::read_link(file.ok()?.path()).ok());
        targets.into_iter().any(|target| target == Path::new(&link))
    })
}

/// Finds the number of the socket that listens on a port, in a table of the kernel.
fn listener(table: &str, port: u16) -> Option<u64> {
    const LISTEN: &str = "0A";
    table.lines().skip(1).find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let (_, local) = fields.get(1)?.rsplit_once(':')?;
        let is_it = u16::from_str_radix(local, 16) == Ok(port) && fields.get(3) == Some(&LISTEN);
        if is_it { fields.get(9)?.parse().ok() } else { None }
    })
}

/// The processor time of all threads that a process has.
fn processor(process: u32) -> Option<Duration> {
    let threads = std::fs::read_dir(format!("/proc/{process}/task")).ok()?;
    // A thread may end while it is looked at.
    let nanos = threads.filter_map(|thread| {
        let times = std::fs::read_to_string(thread.ok()?.path().join("schedstat")).ok()?;
        times.split(' ').next()?.parse::<u64>().ok()
    });
    Some(Duration::from_nanos(nanos.sum()))
}

/// The bytes that the loopback interface received, which are those that it sent.
fn loopback(devices: &str) -> Option<u64> {
    let line = devices.lines().find_map(|line| line.trim_start().strip_prefix("lo:"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_owner_of_a_port_and_what_it_costs_are_found() {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap().to_string();
        let endpoint = Endpoint::at(&address, None).unwrap();
        let meter = Meter::find(std::iter::once(&endpoint)).unwrap();
        assert_eq!(meter, Meter(BTreeSet::from([std::process::id()])));
        let before = meter.read().unwrap();
        let mut hash = 0_u64;
        while meter.read().unwrap().since(&before).processor < Duration::from_millis(5) {
            hash = std::hint::black_box(hash.wrapping_mul(31) + 7);
        }
        drop(socket);
        assert_eq!(Meter::find(std::iter::once(&endpoint)), None, "nobody listens any more");
    }

    #[test]
    fn tables_of_the_kernel_are_read() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
                     \x20  0: 0100007F:1F90 0100007F:0001 01 0:0 0:0 0 0 0 11 1 0\n\
                     \x20  1: 0100007F:1F90 00000000:0000 0A 0:0 0:0 0 0 0 42 1 0\n";
        assert_eq!((listener(table, 8080), listener(table, 8081)), (Some(42), None));
        let devices = "Inter-| Receive\n face |bytes\n  eth0: 1 2 3\n    lo: 4711 10 0\n";
        assert_eq!((loopback(devices), loopback("  lo0: 1")), (Some(4711), None));
    }
}
