# Sticky: a client keeps its backend from query to query, on every server that has this zone, by a hash of its /24 or /56. A
# weight changed from 10 to 20 moves only the clients it must. The client is the subnet that its resolver tells (EDNS Client
# Subnet, RFC 7871), else the resolver itself.
#
#   dig @127.0.0.1 -p 5300 +short +subnet=198.51.100.0/24 www.sticky.example.com

[records]
"@".NS = "ns1"
ns1.A  = "192.0.2.53"
www.steer = "web"

[pools.web]
sticky = true
backends = [
  { name = "one", address = ["192.0.2.1", "2001:db8::1"], weight = 10 },  # one machine, both families: one choice
  { name = "two", address = ["192.0.2.2", "2001:db8::2"], weight = 10 },
  { name = "three", address = ["192.0.2.3", "2001:db8::3"], weight = 10 },
]
