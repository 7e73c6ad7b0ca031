//! Telling the service manager how things are: a datagram to `NOTIFY_SOCKET`, as `sd_notify(3)` has it.

use std::{env, ffi::OsStr, io, os::unix::net::UnixDatagram};

/// That requests are taken.
pub const READY: &str = "READY=1";
/// That what was accepted is being finished.
pub const STOPPING: &str = "STOPPING=1";

/// Tells, if somebody asked to be told; a failure is logged and holds up nothing.
pub fn tell(state: &str) {
    let Some(socket) = env::var_os("NOTIFY_SOCKET") else { return };
    if let Err(error) = send(&socket, state) {
        tracing::warn!(%error, state, "the service manager could not be told");
    }
}

fn send(socket: &OsStr, state: &str) -> io::Result<()> {
    let from = UnixDatagram::unbound()?;
    #[cfg(target_os = "linux")]
    if let Some(name) = socket.to_str().and_then(|s| s.strip_prefix('@')) {
        use std::os::{linux::net::SocketAddrExt as _, unix::net::SocketAddr};
        return from.send_to_addr(state.as_bytes(), &SocketAddr::from_abstract_name(name)?).map(drop);
    }
    from.send_to(state.as_bytes(), socket).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(socket: &UnixDatagram) -> String {
        let mut bytes = [0; 64];
        let n = socket.recv(&mut bytes).unwrap();
        String::from_utf8_lossy(&bytes[..n]).into_owned()
    }

    #[test]
    fn a_socket_with_a_path_or_an_abstract_name_is_told() {
        let path = env::temp_dir().join(format!("sealdex-notify-{}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        let socket = UnixDatagram::bind(&path).unwrap();
        send(path.as_os_str(), READY).unwrap();
        assert_eq!(heard(&socket), READY);
        std::fs::remove_file(&path).unwrap();
        assert!(send(path.as_os_str(), READY).is_err());
        #[cfg(target_os = "linux")]
        {
            use std::os::{linux::net::SocketAddrExt as _, unix::net::SocketAddr};
            let name = format!("sealdex-notify-{}", std::process::id());
            let socket = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
            send(OsStr::new(&format!("@{name}")), STOPPING).unwrap();
            assert_eq!(heard(&socket), STOPPING);
        }
    }
}
