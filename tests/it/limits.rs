//! Bounds: a full outbox drops and counts its oldest states, and huge messages do not use memory.

use serde_json::Value;

use crate::support::{
    Broker, Site, Tty, assert_content, cloud, message, number_messages, number_tables, numbers,
    probe_tables, values, wait_until,
};

/// The smallest outbox that the configuration allows, in bytes.
const OUTBOX_BYTES: u64 = 1 << 20;

#[tokio::test]
async fn full_outbox_drops_and_counts_the_oldest() {
    let cloud = cloud().await;
    cloud.set_offline(true);
    let site = Site::new(&cloud, &probe_tables(&["n", "text"]));
    site.replace_in_config("[outbox]", "[outbox]\nsize_max = \"1 MiB\"");
    let mut tty = Tty::plugged(site.path("tty"));
    let daemon = site.start();
    daemon.wait_for_log("serial line open");
    let (total, padding) = (2_000, "x".repeat(1_000));
    for number in 0..total {
        tty.write(format!("n={number} text={padding}\n"));
    }
    let received = || daemon.count("/ledger/probe/received");
    wait_until("all readings are received", || received() == 2 * total);
    let status = daemon.status();
    assert!(status["outbox"]["bytes"].as_u64().unwrap() <= OUTBOX_BYTES, "{status:#}");
    let dropped = status["ledger"]["probe"]["dropped"]["outbox_full"].as_u64().unwrap() / 2;
    assert!(dropped >= total / 3, "{status:#}");
    cloud.set_offline(false);
    daemon.wait_until_sent();
    let newest: Vec<_> = numbers(total).split_off(usize::try_from(dropped).unwrap());
    assert_eq!(values(&cloud, "n"), newest);
    assert!(daemon.terminate().success());
    site.outbox();
    assert_content(&cloud);
}

#[tokio::test]
async fn huge_messages_do_not_grow_memory() {
    let (cloud, broker) = (cloud().await, Broker::start());
    let site = Site::new(&cloud, &number_tables(broker.port()));
    let daemon = site.start();
    daemon.wait_for_subscription();
    let huge = |_| message("n/a", vec![b'9'; 5 << 20]);
    let rejected = |count| {
        let rejected = || daemon.count("/ledger/house/rejected/too_long");
        wait_until("the huge messages are rejected", || rejected() == count);
    };
    broker.publish((0..2).map(huge)).await;
    rejected(2);
    let before_kb = daemon.memory_kb();
    broker.publish((0..20).map(huge)).await;
    rejected(22);
    broker.publish(number_messages(0..1)).await;
    wait_until("the next message arrives", || values(&cloud, "n") == [Value::from(0)]);
    let growth_kb = daemon.memory_kb().saturating_sub(before_kb);
    assert!(growth_kb < 20_000, "{growth_kb} kB for messages of 5 MB");
    assert!(daemon.terminate().success());
    site.outbox();
    assert_content(&cloud);
}
