//! Reads `/proc` and `/sys`. Channels of absent hardware are left out.

use std::fs::{File, read_dir, read_to_string};
use std::path::{Path, PathBuf};

use procfs_core::process::Status;
use procfs_core::{FromRead, LoadAverage, Meminfo, Uptime};
use rustix::fs::statvfs;
use serde_json::{Map, Value, json};

/// The directory of platform devices. The firmware of a Raspberry Pi reports power and temperature
/// limits below it, in `SOC/SOC:firmware` (kernel driver `raspberrypi`, since Linux 4.19). SOC is
/// `soc`, or has an address in its name, as on a Pi 5.
const PLATFORM: &str = "sys/devices/platform";

/// The hwmon device of the same driver, for kernels without that file. It reports only the voltage.
const VOLTAGE_MONITOR: &str = "rpi_volt";

/// The flags of the firmware: name, bit for now, bit for any time since boot (Raspberry Pi
/// documentation, `vcgencmd get_throttled`).
const FLAGS: [(&str, u32, u32); 4] = [
    ("under_voltage", 0, 16),
    ("frequency_capped", 1, 17),
    ("throttled", 2, 18),
    ("soft_temperature_limit", 3, 19),
];

/// The most thermal zones, cards and network devices that are read; a Pi has a handful.
const ENTRIES_MAX: usize = 32;

/// A disk and its space.
pub(super) struct Disk {
    /// A path on the disk.
    pub(super) path: String,
    /// The channels of the disk, or why they cannot be read.
    pub(super) space: std::io::Result<Value>,
}

/// Reads the space of the disks with these paths.
pub(super) fn disks(paths: &[PathBuf]) -> Vec<Disk> {
    let disk = |path: &PathBuf| Disk { path: path.display().to_string(), space: space(path) };
    paths.iter().map(disk).collect()
}

/// Reads all channels, with `root` in place of `/`.
pub(super) fn probe(root: &Path, disks: &[Disk]) -> Value {
    let mut channels = Map::new();
    temperatures(root, &mut channels);
    load(root, &mut channels);
    memory(root, &mut channels);
    power(root, &mut channels);
    wifi(root, &mut channels);
    wear(root, &mut channels);
    let spaces = disks
        .iter()
        .filter_map(|disk| Some((disk.path.clone(), disk.space.as_ref().ok()?.clone())));
    channels.insert("disks".to_owned(), Value::Object(spaces.collect()));
    // Most computers have one disk: its channels need no pointer with slashes in it.
    if let Some(Disk { space: Ok(space), .. }) = disks.first() {
        channels.insert("disk".to_owned(), space.clone());
    }
    Value::Object(channels)
}

/// Adds the temperature of the processor, in °C, and those of all zones by their type.
fn temperatures(root: &Path, channels: &mut Map<String, Value>) {
    let mut zones = Map::new();
    for zone in entries(&root.join("sys/class/thermal"), "thermal_zone") {
        let Some(celsius) = number(&zone.join("temp")).map(|milli| milli / 1_000.0) else {
            continue;
        };
        let kind = word(&zone.join("type")).unwrap_or_else(|| "unknown".to_owned());
        zones.entry(kind).or_insert(celsius.into());
    }
    let is_processor = |kind: &str| kind.contains("cpu") || kind.contains("x86_pkg");
    let processor =
        zones.iter().find(|(kind, _)| is_processor(kind)).or_else(|| zones.iter().next());
    if let Some((_, celsius)) = processor {
        channels.insert("temperature".to_owned(), celsius.clone());
        channels.insert("temperatures".to_owned(), Value::Object(zones));
    }
}

fn load(root: &Path, channels: &mut Map<String, Value>) {
    if let Ok(load) = LoadAverage::from_file(root.join("proc/loadavg")) {
        channels.insert("load".to_owned(), load.one.into());
        channels.insert("load_5min".to_owned(), load.five.into());
        channels.insert("load_15min".to_owned(), load.fifteen.into());
    }
    if let Ok(uptime) = Uptime::from_file(root.join("proc/uptime")) {
        channels.insert("uptime_s".to_owned(), uptime.uptime.into());
    }
}

fn memory(root: &Path, channels: &mut Map<String, Value>) {
    if let Ok(memory) = Meminfo::from_file(root.join("proc/meminfo")) {
        let available = memory.mem_available.unwrap_or(memory.mem_free);
        let used = memory.mem_total.saturating_sub(available);
        channels.insert("memory_available_bytes".to_owned(), available.into());
        channels.insert("memory_used_percent".to_owned(), percent(used, memory.mem_total));
        let swap_used = memory.swap_total.saturating_sub(memory.swap_free);
        channels.insert("swap_used_bytes".to_owned(), swap_used.into());
    }
    if let Ok(own) = Status::from_file(root.join("proc/self/status"))
        && let Some(kibibytes) = own.vmrss
    {
        channels.insert("own_memory_bytes".to_owned(), (kibibytes * 1_024).into());
    }
}

/// Adds the flags of the power supply, for now and for any time since boot.
fn power(root: &Path, channels: &mut Map<String, Value>) {
    let firmware = entries(&root.join(PLATFORM), "soc").into_iter().find_map(|soc| {
        let name = format!("{}:firmware", soc.file_name()?.to_string_lossy());
        word(&soc.join(name).join("get_throttled"))
    });
    let flags =
        firmware.and_then(|text| u32::from_str_radix(text.trim_start_matches("0x"), 16).ok());
    let Some(flags) = flags else {
        let monitors = entries(&root.join("sys/class/hwmon"), "hwmon").into_iter();
        let is_ours = |path: &PathBuf| word(&path.join("name")).as_deref() == Some(VOLTAGE_MONITOR);
        let alarm = monitors.filter(is_ours).find_map(|path| word(&path.join("in0_lcrit_alarm")));
        if let Some(alarm) = alarm {
            channels.insert("under_voltage".to_owned(), (alarm != "0").into());
        }
        return;
    };
    for (name, now, since_boot) in FLAGS {
        channels.insert(name.to_owned(), (flags >> now & 1 == 1).into());
        channels.insert(format!("{name}_since_boot"), (flags >> since_boot & 1 == 1).into());
    }
}

/// Adds `wifi_signal_dbm` of the first connected wireless device (`/proc/net/wireless`: two head
/// lines, then name, status, link, level). A device without a connection has the level 0 or, with
/// some drivers, -256. Some drivers report a quality above 0 in place of dBm.
fn wifi(root: &Path, channels: &mut Map<String, Value>) {
    let Ok(text) = read_to_string(root.join("proc/net/wireless")) else { return };
    let level = |line: &str| line.split_whitespace().nth(3)?.trim_end_matches('.').parse().ok();
    let mut levels = text.lines().skip(2).take(ENTRIES_MAX).filter_map(level);
    if let Some(level) = levels.find(|level: &i64| (-255..0).contains(level)) {
        channels.insert("wifi_signal_dbm".to_owned(), level.into());
    }
}

/// Adds how much of the life of an eMMC is used, in steps of 10 %, for its worse area (`life_time`,
/// JEDEC JESD84-B51; SD cards have no such register).
fn wear(root: &Path, channels: &mut Map<String, Value>) {
    for card in entries(&root.join("sys/block"), "mmcblk") {
        let Some(text) = word(&card.join("device/life_time")) else { continue };
        let step = |word: &str| u64::from_str_radix(word.trim_start_matches("0x"), 16).ok();
        let worst = text.split_whitespace().filter_map(step).max();
        if let Some(steps @ 1..=11) = worst {
            channels.insert("card_life_used_percent".to_owned(), (steps * 10).into());
            return;
        }
    }
}

fn space(path: &Path) -> std::io::Result<Value> {
    let space = statvfs(path)?;
    let bytes = |blocks: u64| blocks.saturating_mul(space.f_frsize);
    let (total, free) = (bytes(space.f_blocks), bytes(space.f_bavail));
    let used = space.f_blocks.saturating_sub(space.f_bfree);
    // As df computes it: relative to the space for ordinary users.
    let used_percent = percent(used, used.saturating_add(space.f_bavail));
    Ok(json!({"total_bytes": total, "free_bytes": free, "used_percent": used_percent}))
}

#[expect(clippy::cast_precision_loss, reason = "the result is rounded to a tenth of a percent")]
fn percent(part: u64, whole: u64) -> Value {
    if whole == 0 {
        Value::Null
    } else {
        json!((part as f64 / whole as f64 * 1_000.0).round() / 10.0)
    }
}

/// Lists the entries of a directory whose names have this prefix, sorted.
fn entries(directory: &Path, prefix: &str) -> Vec<PathBuf> {
    let entries = read_dir(directory).into_iter().flatten().filter_map(Result::ok);
    let mut paths: Vec<_> = entries
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix))
        .map(|entry| entry.path())
        .take(ENTRIES_MAX)
        .collect();
    paths.sort();
    paths
}

fn number(path: &Path) -> Option<f64> {
    word(path)?.parse().ok()
}

/// Reads the text of a file of `/sys`.
fn word(path: &Path) -> Option<String> {
    // A sysfs attribute has at most one page.
    let mut text = String::new();
    std::io::Read::read_to_string(
        &mut std::io::Read::take(File::open(path).ok()?, 4_096),
        &mut text,
    )
    .ok()?;
    Some(text.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The files of a Raspberry Pi 4 with Linux 6.6.
    const PI: [(&str, &str); 9] = [
        ("sys/class/thermal/thermal_zone0/temp", "48312\n"),
        ("sys/class/thermal/thermal_zone0/type", "cpu-thermal\n"),
        ("sys/devices/platform/soc/soc:firmware/get_throttled", "50005\n"),
        ("proc/loadavg", "0.52 0.58 0.59 1/467 12345\n"),
        ("proc/uptime", "350735.47 234388.90\n"),
        (
            "proc/meminfo",
            "MemTotal:        1000000 kB\n\
             MemFree:          100000 kB\n\
             MemAvailable:     750000 kB\n\
             Buffers:           10000 kB\n\
             Cached:           200000 kB\n\
             SwapCached:            0 kB\n\
             Active:           100000 kB\n\
             Inactive:         100000 kB\n\
             SwapTotal:        102396 kB\n\
             SwapFree:         102396 kB\n\
             Dirty:                 0 kB\n\
             Writeback:             0 kB\n\
             AnonPages:        100000 kB\n\
             Mapped:           100000 kB\n\
             Slab:              10000 kB\n\
             PageTables:         1000 kB\n\
             Committed_AS:     100000 kB\n\
             VmallocTotal:     100000 kB\n\
             VmallocUsed:        1000 kB\n\
             VmallocChunk:          0 kB\n",
        ),
        (
            "proc/net/wireless",
            "Inter-| sta-|   Quality        |   Discarded packets               | Missed | WE\n \
             face | tus | link level noise |  nwid  crypt   frag  retry   misc | beacon | 22\n \
             wlan0: 0000   57.  -53.  -256        0      0      0      0      0        0\n",
        ),
        ("sys/block/mmcblk0/device/life_time", "0x01 0x03\n"),
        ("sys/block/mmcblk0/device/pre_eol_info", "0x01\n"),
    ];

    #[test]
    fn raspberry_pi_has_all_channels() {
        let channels = with(&PI);
        let expected = json!({
            "temperature": 48.312, "temperatures": {"cpu-thermal": 48.312},
            "load": 0.52_f32, "load_5min": 0.58_f32, "load_15min": 0.59_f32, "uptime_s": 350_735.47,
            "memory_available_bytes": 768_000_000, "memory_used_percent": 25.0,
            "swap_used_bytes": 0,
            "under_voltage": true, "under_voltage_since_boot": true,
            "frequency_capped": false, "frequency_capped_since_boot": false,
            "throttled": true, "throttled_since_boot": true,
            "soft_temperature_limit": false, "soft_temperature_limit_since_boot": false,
            "wifi_signal_dbm": -53, "card_life_used_percent": 30, "disks": {},
        });
        assert_eq!(channels, expected);
    }

    #[test]
    fn known_channels_include_those_of_a_raspberry_pi() {
        let table = "[bus.system.pi]\n[sensor.pi]\nbus = \"pi\"\nformat = \"json\"\n\
            map = [{ channel = \"load\", attribute = \"load\" }]\n";
        let config = tidegate_config::check_text(table).unwrap();
        let bus = config.buses.values().next().unwrap();
        let known = crate::known_messages(&bus.kind).unwrap();
        let channels = with(&PI);
        let scalars = channels.as_object().unwrap().iter().filter(|(_, value)| !value.is_object());
        for (name, value) in scalars {
            let found = known[0].channels.iter().find(|channel| channel.name == *name);
            let data_type = found.unwrap_or_else(|| panic!("{name}")).data_type.as_str();
            assert_eq!(data_type == "boolean", value.is_boolean(), "{name}");
        }
    }

    fn with(files: &[(&str, &str)]) -> Value {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        probe(root.path(), &[])
    }

    #[test]
    fn finds_the_power_flags_of_all_kernels() {
        let five = "sys/devices/platform/soc@107c000000/soc@107c000000:firmware/get_throttled";
        assert_eq!(with(&[(five, "4\n")])["throttled"], true);
        let monitor = [
            ("sys/class/hwmon/hwmon0/name", "cpu_thermal\n"),
            ("sys/class/hwmon/hwmon1/name", "rpi_volt\n"),
            ("sys/class/hwmon/hwmon1/in0_lcrit_alarm", "1\n"),
        ];
        assert_eq!(with(&monitor), json!({"disks": {}, "under_voltage": true}));
    }

    #[test]
    fn unconnected_wireless_device_has_no_signal() {
        let head = "Inter-| sta-|   Quality        |\n face | tus | link level noise |\n";
        let signal = |lines: &str| {
            let channels = with(&[("proc/net/wireless", &format!("{head}{lines}"))]);
            channels.get("wifi_signal_dbm").cloned()
        };
        let down = " wlan0: 0000    0     0     0        0      0      0      0      0        0\n";
        let up = " wlan1: 0000   57.  -53.  -256        0      0      0      0      0        0\n";
        assert_eq!(signal(down), None);
        assert_eq!(signal(&down.replace("0     0 ", "0.  -256. ")), None);
        assert_eq!(signal(&format!("{down}{up}")), Some(json!(-53)));
        assert_eq!(signal(""), None);
    }

    #[test]
    fn absent_hardware_has_no_channels() {
        let root = tempfile::tempdir().unwrap();
        let absent = disks(&["/no/such/disk".into()]);
        assert!(absent[0].space.is_err());
        assert_eq!(probe(root.path(), &absent), json!({"disks": {}}));
        let channels = probe(root.path(), &disks(&[root.path().to_owned()]));
        assert!(channels["disk"]["free_bytes"].as_u64().unwrap() > 0, "{channels}");
    }

    #[test]
    fn reads_this_computer() {
        let channels = probe(Path::new("/"), &disks(&["/".into()]));
        assert!(channels["uptime_s"].as_f64().unwrap() > 0.0, "{channels}");
        assert!(channels["own_memory_bytes"].as_u64().unwrap() > 0, "{channels}");
    }
}
