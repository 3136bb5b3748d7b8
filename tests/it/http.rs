//! Connections to the cloud: TLS, and the version of HTTP that the server offers.

use hyper::Version;

use crate::support::{End, Site, TlsCloud, probe_tables};

/// Returns a site for this cloud.
pub(crate) fn site(cloud: &TlsCloud) -> Site {
    let site = Site::at(&cloud.url, &probe_tables(&["t"]));
    std::fs::write(site.path("ca.pem"), &cloud.certificate).unwrap();
    site.replace_in_config("[losant]", "[losant]\nproxy = \"none\"\nca_file = \"ca.pem\"");
    site
}

#[tokio::test(flavor = "multi_thread")]
async fn uses_http_2_if_offered_else_http_1() {
    for (offered, spoken) in [
        (&["h2", "http/1.1"][..], Version::HTTP_2),
        (&["h2"], Version::HTTP_2),
        (&["http/1.1"], Version::HTTP_11),
        (&[], Version::HTTP_11),
    ] {
        let mut cloud = TlsCloud::start(offered).await;
        End::of(&site(&cloud).run(&["device", "get"])).line();
        let [authentication, get] = [cloud.version().await, cloud.version().await];
        assert_eq!((authentication, get), (spoken, spoken), "offered: {offered:?}");
    }
}
