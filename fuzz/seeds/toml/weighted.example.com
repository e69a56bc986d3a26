# Weights: each query draws one backend, in proportion. Here three of four answers are the first address.
#
#   for i in $(seq 100); do dig @127.0.0.1 -p 5300 +short www.weighted.example.com; done | sort | uniq -c

[records]
"@".NS = "ns1"
ns1.A  = "192.0.2.53"
www    = { steer = "web", TXT = "other types may stand beside" }

[pools.web]
ttl = "10s"                                # a steered answer lives for 30 seconds unless something is said
backends = [
  { address = "192.0.2.1", weight = 3 },
  { address = "192.0.2.2", weight = 1 },
  { address = "192.0.2.3", weight = 0 },   # only when nothing of positive weight is healthy
]
