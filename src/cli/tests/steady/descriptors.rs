//! Servers that may open few files.

use std::time::Duration;

use crate::{
    finds, limited,
    raw::{connect_from, get, read_all, status},
    there, until, world,
};

#[tokio::test(flavor = "multi_thread")]
async fn with_64_descriptors_servers_serve_refuse_and_recover() {
    let home = tempfile::tempdir().unwrap();
    let world = world(home.path(), 3, 1, limited(home.path(), "ulimit -n 64")).await;
    world.push_all().await;
    assert_eq!(finds(&world, "reader").await.unwrap(), there(&world, &[0]));
    for port in [world.servers.cloud_port, world.servers.gate_port()] {
        let mut held = Vec::new();
        let mut refused = 0;
        for _ in 0..60 {
            let mut stream = connect_from([127, 0, 0, 2], port).await.unwrap();
            let (said, closed) = read_all(&mut stream, 0).await;
            held.push(stream);
            refused += u32::from(closed && status(&said) == 503);
        }
        // Some may be told a moment later.
        for stream in &mut held {
            let (said, closed) =
                tokio::time::timeout(Duration::from_millis(20), read_all(stream, 1)).await.unwrap_or_default();
            refused += u32::from(
                closed && status(&said) == 503 && said.contains("Retry-After") && said.contains("too many connections"),
            );
        }
        assert!(refused >= 40, "{refused} of 60 were told that it is too many");
        let others = get(port, "/healthz").await;
        assert_eq!(status(&others), 200, "others are served meanwhile: {others}");
    }
    assert_eq!(finds(&world, "reader").await.unwrap(), there(&world, &[0]));
    until("one address is served again", 20, async || {
        let stream = connect_from([127, 0, 0, 2], world.servers.cloud_port).await;
        match stream {
            Ok(mut stream) => !matches!(read_all(&mut stream, 1).await, (said, true) if status(&said) == 503),
            Err(_) => false,
        }
    })
    .await;
}
