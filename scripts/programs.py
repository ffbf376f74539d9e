"""The programs `make` needs: their Debian packages, and how they start from any folder."""

# All it imports: the distribution's own Python runs it, with nothing else installed.
COMPOSE_PACKAGES = [
    "docker-compose",
    "python3-attr",
    "python3-cached-property",
    "python3-certifi",
    "python3-chardet",
    "python3-charset-normalizer",
    "python3-distro",
    "python3-distutils",
    "python3-docker",
    "python3-dockerpty",
    "python3-docopt",
    "python3-dotenv",
    "python3-idna",
    "python3-jsonschema",
    "python3-lib2to3",
    "python3-packaging",
    "python3-pkg-resources",
    "python3-pyrsistent",
    "python3-requests",
    "python3-six",
    "python3-texttable",
    "python3-urllib3",
    "python3-websocket",
    "python3-yaml",
]

# The browser that opens the report, and the libraries a bare machine lacks for it.
BROWSER_PACKAGES = [
    "chromium-headless-shell",
    "chromium-common",
    "libasound2",
    "libasyncns0",
    "libatk1.0-0",
    "libatspi2.0-0",
    "libblkid1",
    "libbrotli1",
    "libbsd0",
    "libcap2",
    "libdav1d6",
    "libdbus-1-3",
    "libdouble-conversion3",
    "libdrm2",
    "libexpat1",
    "libffi8",
    "libflac12",
    "libfontconfig1",
    "libfreetype6",
    "libgbm1",
    "libgcrypt20",
    "libglib2.0-0",
    "libgpg-error0",
    "libgraphite2-3",
    "libharfbuzz-subset0",
    "libharfbuzz0b",
    "libjpeg62-turbo",
    "liblz4-1",
    "libmd0",
    "libminizip1",
    "libmount1",
    "libmp3lame0",
    "libmpg123-0",
    "libnspr4",
    "libnss3",
    "libogg0",
    "libopenh264-7",
    "libopus0",
    "libpcre2-8-0",
    "libpng16-16",
    "libpulse0",
    "libsndfile1",
    "libvorbis0a",
    "libvorbisenc2",
    "libwayland-server0",
    "libx11-6",
    "libx11-xcb1",
    "libxau6",
    "libxcb1",
    "libxcomposite1",
    "libxdamage1",
    "libxdmcp6",
    "libxext6",
    "libxfixes3",
    "libxi6",
    "libxkbcommon0",
    "libxnvctrl0",
    "libxrandr2",
    "libxrender1",
]

# What each group needs on PATH (any of the names), and the Debian packages it comes from otherwise.
PROGRAMS = {
    "prometheus": {
        ("prometheus",): ["prometheus"],
        ("promtool",): ["prometheus"],
        ("alertmanager", "prometheus-alertmanager"): ["prometheus-alertmanager"],
        ("amtool",): ["prometheus-alertmanager"],
        ("pushgateway", "prometheus-pushgateway"): ["prometheus-pushgateway"],
    },
    "compose": {
        ("docker-compose",): COMPOSE_PACKAGES,
    },
    "browser": {
        ("chromium-headless-shell", "chromium"): BROWSER_PACKAGES,
    },
    "postgres": {
        ("postgres",): ["postgresql"],
        ("initdb",): ["postgresql"],
    },
    "exporters": {
        ("node_exporter", "prometheus-node-exporter"): ["prometheus-node-exporter"],
    },
}
# Debian keeps the programs of each version of PostgreSQL in a folder that is on no PATH.
POSTGRES_BIN = "usr/lib/postgresql/*/bin"
GROUP_NAMES = {
    "prometheus": "Prometheus 2.x, Alertmanager and Pushgateway",
    "compose": "docker-compose 1.29, which checks docker-compose.yml,",
    "browser": "Chromium without a window, which opens the report,",
    "postgres": "PostgreSQL (initdb and postgres)",
    "exporters": "node_exporter, which tests scrape,",
}

COMPOSE_WRAPPER = """#!/bin/sh
root=$(cd "$(dirname "$0")/.." && pwd)
PYTHONPATH="$root/usr/lib/python3/dist-packages:$(echo "$root"/usr/lib/python3.*)" \\
    exec /usr/bin/python3 "$root/usr/bin/docker-compose" "$@"
"""
BROWSER_WRAPPER = """#!/bin/sh
root=$(cd "$(dirname "$0")/.." && pwd)
libraries=$(echo "$root"/usr/lib/*-linux-gnu)
LD_LIBRARY_PATH="$libraries:$libraries/pulseaudio" \\
    exec "$root/usr/lib/chromium/chromium-headless-shell" "$@"
"""
# Debian's Alertmanager reads its default templates from this absolute path. The copy below reads
# them relative to the directory it is started in; both texts have to be of one length.
TEMPLATES = (b"/usr/share/prometheus/alertmanager", b"usr//share/prometheus/alertmanager")
ALERTMANAGER_WRAPPER = """#!/bin/sh
for argument in "$@"; do
    case "$argument" in --config.file=[!/]*|--storage.path=[!/]*)
        echo "alertmanager: give absolute paths, not $argument" >&2; exit 2;;
    esac
done
cd "$(dirname "$0")/.." && exec libexec/alertmanager "$@"
"""
