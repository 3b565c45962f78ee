"""Nginx: as a plain proxy, and with its scripting module, which can verify signatures.

Owns:      two configurations. The open-source server itself has no check of tokens.
Called by: peers.
Source:    nginx documentation: proxy, upstream and auth_request modules, njs reference
           (Web Crypto).
"""

from typing import Final

import orjson

from fastgate_bench.gateways import BASIC_CHECKS, Place, Subject, find_program
from fastgate_bench.tokens import AUDIENCE, ISSUER

__all__ = ["NGINX_JWT", "NGINX_PLAIN"]

_CONFIG: Final = """
{module}
daemon off; master_process off; worker_processes 1; pid {folder}/nginx.pid;
error_log {folder}/nginx.error.log crit;
events {{ worker_connections 8000; }}
http {{
  {script}
  access_log {log}; server_tokens off; keepalive_timeout 60s; tcp_nodelay on;
  keepalive_requests 1000000000; client_max_body_size 0;
  proxy_request_buffering off; proxy_buffering on; proxy_max_temp_file_size 0;
  client_body_temp_path {folder}/t1; proxy_temp_path {folder}/t2;
  fastcgi_temp_path {folder}/t3; uwsgi_temp_path {folder}/t4;
  scgi_temp_path {folder}/t5;
  upstream eu {{
    server 127.0.0.1:{upstream}; keepalive 512; keepalive_requests 1000000000;
  }}
  upstream us {{
    server 127.0.0.1:{upstream}; keepalive 512; keepalive_requests 1000000000;
  }}
  server {{
    listen 127.0.0.1:{port} backlog=16384;
    proxy_http_version 1.1; proxy_set_header Connection "";
    proxy_set_header Host $host;
    {locations}
  }}
}}
"""
_PLAIN_LOCATIONS: Final = "location / { proxy_pass http://eu; }"
_JWT_LOCATIONS: Final = """
    location / {
      auth_request /verify; auth_request_set $region $sent_http_x_region;
      proxy_set_header X-Fastgate-Region $region; proxy_pass http://$region;
    }
    location = /verify { internal; js_content gate.verify; }
"""
_SCRIPT: Final = """
const ALGORITHM = {name: 'ECDSA', namedCurve: 'P-256'};
const KEY = Buffer.from(@KEY@, 'base64');
const json = (part) => JSON.parse(Buffer.from(part, 'base64url').toString());
async function check(r) {
  const value = r.headersIn['Authorization'] || '';
  const parts = value.startsWith('Bearer ') ? value.slice(7).split('.') : [];
  if (parts.length !== 3 || json(parts[0]).alg !== 'ES256') { return 401; }
  const key = await crypto.subtle.importKey('spki', KEY, ALGORITHM, false, ['verify']);
  const good = await crypto.subtle.verify({name: 'ECDSA', hash: 'SHA-256'}, key,
    Buffer.from(parts[2], 'base64url'), Buffer.from(parts[0] + '.' + parts[1]));
  const claims = json(parts[1]);
  if (!good || claims.iss !== @ISSUER@ || claims.aud !== @AUDIENCE@
      || claims.exp * 1000 < Date.now()) { return 401; }
  if (!claims.scope.split(' ').includes('orders')) { return 403; }
  r.headersOut['X-Region'] = claims.region === 'us' ? 'us' : 'eu';
  return 200;
}
async function verify(r) {
  let status = 401;
  try { status = await check(r); } catch (error) { status = 401; }
  r.return(status);
}
export default {verify};
"""
_MODULE: Final = "nginx/modules/ngx_http_js_module.so"


def _command(
    place: Place, locations: str, module: str = "", script: str = ""
) -> list[str]:
    path = place.folder / "nginx.conf"
    log = f"{place.folder}/access.log" if place.access_log else "off"
    path.write_text(
        _CONFIG.format(
            folder=place.folder,
            port=place.port,
            upstream=place.upstream_port,
            log=log,
            locations=locations,
            module=module,
            script=script,
        ),
        "utf-8",
    )
    early = str(place.folder / "nginx.early.log")
    return [find_program("nginx"), "-e", early, "-c", str(path)]


def _plain(place: Place) -> list[str]:
    return _command(place, _PLAIN_LOCATIONS)


def _jwt(place: Place) -> list[str]:
    lines = place.issuer.pem().decode().splitlines()
    values = {"KEY": "".join(lines[1:-1]), "ISSUER": ISSUER, "AUDIENCE": AUDIENCE}
    script = _SCRIPT
    for name, value in values.items():
        script = script.replace(f"@{name}@", orjson.dumps(value).decode())
    path = place.folder / "gate.js"
    path.write_text(script, "utf-8")
    module = f"load_module {NGINX_JWT.module()};"
    return _command(place, _JWT_LOCATIONS, module, f"js_import gate from {path};")


NGINX_PLAIN: Final = Subject(
    *("nginx-plain", _plain, "nginx", "apt-get install nginx-light"),
    lacks="no check at all: a plain proxy",
)
NGINX_JWT: Final = Subject(
    *("nginx-jwt", _jwt, "nginx"),
    install="apt-get install nginx-light libnginx-mod-http-js",
    any_file=(f"/usr/lib/{_MODULE}", f"/usr/lib64/{_MODULE}", f"/etc/{_MODULE}"),
    refuses=BASIC_CHECKS,
    lacks="no revocation, no freshness; no token cache; the key is read anew each time",
)
