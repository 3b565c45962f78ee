"""Nginx: as a plain proxy; the open-source server has no check of signatures.

Owns:      one configuration.
Called by: peers.
Source:    nginx documentation, ngx_http_proxy_module and ngx_http_upstream_module.
"""

from typing import Final

from fastgate_bench.gateways import Place, Subject, find_program

__all__ = ["NGINX_PLAIN"]

_CONFIG: Final = """
daemon off; master_process off; worker_processes 1; pid {folder}/nginx.pid;
error_log {folder}/nginx.error.log crit;
events {{ worker_connections 20000; }}
http {{
  access_log {log}; server_tokens off; keepalive_timeout 60s; tcp_nodelay on;
  keepalive_requests 1000000000; client_max_body_size 0;
  proxy_request_buffering off; proxy_buffering on; proxy_max_temp_file_size 0;
  client_body_temp_path {folder}/t1; proxy_temp_path {folder}/t2;
  fastcgi_temp_path {folder}/t3; uwsgi_temp_path {folder}/t4;
  scgi_temp_path {folder}/t5;
  upstream api {{
    server 127.0.0.1:{upstream}; keepalive 512; keepalive_requests 1000000000;
  }}
  server {{
    listen 127.0.0.1:{port} backlog=16384;
    location / {{
      proxy_pass http://api; proxy_http_version 1.1;
      proxy_set_header Connection ""; proxy_set_header Host $host;
    }}
  }}
}}
"""


def _plain(place: Place) -> list[str]:
    path = place.folder / "nginx.conf"
    log = f"{place.folder}/access.log" if place.access_log else "off"
    path.write_text(
        _CONFIG.format(
            folder=place.folder,
            port=place.port,
            upstream=place.upstream_port,
            log=log,
        ),
        "utf-8",
    )
    early = str(place.folder / "nginx.early.log")
    return [find_program("nginx"), "-e", early, "-c", str(path)]


NGINX_PLAIN: Final = Subject(
    *("nginx-plain", _plain, "nginx", "apt-get install nginx-light"),
    lacks="no check at all: a plain proxy",
)
