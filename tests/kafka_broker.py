"""A real Kafka broker on loopback, for tests; its jars come by Maven, once.

It has two listeners: one to be used directly, and one that clients know by the port of
a fault link only, since Kafka tells its clients where to connect.
"""

import fcntl
import hashlib
import shutil
import subprocess
from pathlib import Path

from tests.buses_wanted import missing
from tests.nats_server import free_port
from tests.server_process import ServerProcess

_POM = Path(__file__).with_name("kafka_pom.xml")
_STARTED_WITHIN_S = 30.0
_FETCHED_WITHIN_S = 300
# Small, quick to start, and no more threads than two cores can use.
_JAVA = ["-Xmx256m", "-Xms64m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]


def classpath() -> str:
    """Return where the broker's jars are, fetched where they are not yet."""
    for command in ("java", "mvn"):
        if shutil.which(command) is None:
            missing(f"a Kafka broker needs {command}, which is not installed")
    folder = Path.home() / ".m2" / "fastgate-tests"
    folder.mkdir(parents=True, exist_ok=True)
    known = folder / hashlib.sha256(_POM.read_bytes()).hexdigest()[:16]
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        jars = known.read_text() if known.exists() else ""
        if not jars or not all(Path(jar).exists() for jar in jars.split(":")):
            _fetch(known)
        return known.read_text()


def _fetch(known: Path) -> None:
    fetched = subprocess.run(
        [
            "mvn",
            "-q",
            "-B",
            "-f",
            str(_POM),
            "dependency:build-classpath",
            f"-Dmdep.outputFile={known}",
        ],
        check=False,
        capture_output=True,
        text=True,
        timeout=_FETCHED_WITHIN_S,
    )
    if fetched.returncode:
        known.unlink(missing_ok=True)
        missing(f"Maven could not fetch a Kafka broker: {fetched.stdout[-500:]}")


class KafkaBroker(ServerProcess):
    """One broker that is its own controller.

    link_port: Where clients of the second listener believe it to be.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port, self.far_port, self.link_port = (free_port() for _ in range(3))
        self._controller_port = free_port()
        self._classpath = classpath()
        self._starts = 0

    @property
    def server(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return f"kafka://{self.server}"

    def _config(self) -> str:
        own = f"127.0.0.1:{self._controller_port}"
        near, far = (f"127.0.0.1:{port}" for port in (self.port, self.far_port))
        lines = {
            "process.roles": "broker,controller",
            "node.id": "1",
            "controller.quorum.voters": f"1@{own}",
            "listeners": f"NEAR://{near},FAR://{far},CONTROLLER://{own}",
            "advertised.listeners": f"NEAR://{near},FAR://127.0.0.1:{self.link_port}",
            "listener.security.protocol.map": (
                "NEAR:PLAINTEXT,FAR:PLAINTEXT,CONTROLLER:PLAINTEXT"
            ),
            "inter.broker.listener.name": "NEAR",
            "controller.listener.names": "CONTROLLER",
            "log.dirs": str(self.folder / "data"),
            "auto.create.topics.enable": "false",
            "offsets.topic.replication.factor": "1",
            "num.network.threads": "1",
            "num.io.threads": "2",
            "background.threads": "1",
            "log.cleaner.enable": "false",
            # One that was killed is believed alive for so long, and cannot come back.
            "broker.session.timeout.ms": "1000",
            "broker.heartbeat.interval.ms": "200",
            # As an operator's default would be, so that ours must be said.
            "log.retention.hours": "1",
        }
        return "\n".join(f"{name}={value}" for name, value in lines.items())

    def start(self) -> "KafkaBroker":
        """Start, and return when it takes connections."""
        data = self.folder / "data"
        if not data.exists():
            data.mkdir(parents=True)
            self._starts += 1
            name = f"{self._starts:022d}"
            (data / "meta.properties").write_text(
                f"version=1\ncluster.id={name}\nnode.id=1\n"
            )
        config = self.folder / "server.properties"
        config.write_text(self._config())
        self.launch(
            ["java", *_JAVA, "-cp", self._classpath, "kafka.Kafka", str(config)],
            within_s=_STARTED_WITHIN_S,
        )
        return self

    def wipe(self) -> None:
        """Forget every topic, and which cluster it was; only while it is stopped."""
        assert self._process is None
        shutil.rmtree(self.folder / "data")
