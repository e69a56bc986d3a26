# Answers by where the client is: the nearest site, and rules by network, country and AS number. The example's location database
# (geo/demo.mmdb, made from geo/demo.txt) knows the documentation networks only.
#
#   dig @127.0.0.1 -p 5300 +short +subnet=198.51.100.0/24 www.location.example.com
#   windrose explain shop.location.example.com --client 198.51.100.200

[records]
"@".NS = "ns1"
ns1.A  = "192.0.2.53"
www.steer  = "near"
shop.steer = "by-region"

# Great-circle distance. A bias below 1 attracts: singapore counts as a fifth nearer than it is.
[policies.near]
choose  = "nearest"
members = ["frankfurt", "ashburn", "singapore"]
bias    = { singapore = 0.8 }

# The first rule that matches and is usable serves; all keys of a rule must hold, of a key any value may.
[policies.by-region]
choose = "rules"
rules = [
  { network = ["192.0.2.77", "2001:db8:1:77::/64"], use = "singapore" },
  { country = ["DE", "FR"], use = "frankfurt" },
  { continent = ["NA"], asn = [64497], use = "ashburn" },
  { subdivision = ["US-CA"], use = "singapore" },
]
otherwise = "near"

[pools.frankfurt]
location = [50.11, 8.68]
backends = [{ name = "fra1", address = ["192.0.2.10", "2001:db8:a::10"] }]

[pools.ashburn]
location = [39.04, -77.49]
backends = [{ name = "iad1", address = ["192.0.2.20", "2001:db8:a::20"] }]

[pools.singapore]
location = [1.35, 103.82]
backends = [{ name = "sin1", address = ["192.0.2.30", "2001:db8:a::30"] }]
