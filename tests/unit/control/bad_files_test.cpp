// SPDX-License-Identifier: Apache-2.0
// What the operator reads when the file is wrong: whole lines, because they are the interface.
#include <culvert/control/config.hpp>

#include <doctest/doctest.h>

using namespace culvert;
using namespace culvert::control;

namespace {

struct Row {
    std::string name;
    std::string text;
    std::string error;
};

std::string error_of(const std::string& text) {
    auto loaded = parse_config(text, "f.yaml");
    return loaded ? "accepted" : loaded.error().to_string();
}

void check(std::initializer_list<Row> rows) {
    for (const Row& row : rows) {
        CAPTURE(row.name);
        CHECK(error_of(row.text) == row.error);
    }
}

const std::string node = "node: {name: n}\n";

// From line 3 on: keys of a workload.
std::string workload(const std::string& keys) {
    return node + "workloads:\n- {uid: w, namespace: a, workloadIps: [10.0.0.1],\n   " + keys + "}\n";
}

// From line 3 on: keys of a service.
std::string service(const std::string& keys) {
    return node + "services:\n- {name: s, namespace: a, hostname: s.a, vips: [/10.1.0.1], ports: {80: 8080},\n   " +
           keys + "}\n";
}

// From line 3 on: one match of a policy.
std::string match(const std::string& keys) {
    return node + "policies:\n- {name: p, namespace: a, scope: Global, action: Deny, dryRun: false,\n   rules: [[[{" +
           keys + "}]]]}\n";
}

std::string pod_and_workload(const std::string& pod, const std::string& workload) {
    return node + "pods:\n- {" + pod + "}\nworkloads:\n- {" + workload + "}\n";
}

const std::string good_pod = "uid: w, name: web, namespace: a, serviceAccount: sa, netns: /run/netns/x";
const std::string good_workload = "uid: w, namespace: a, serviceAccount: sa, workloadIps: []";

}

TEST_SUITE("control") {

TEST_CASE("bad file: what is not the YAML that we want") {
    check({
        {"empty", "", "f.yaml:1: found 0 YAML documents, expected one"},
        {"only comments", "# nothing\n", "f.yaml:1: found 0 YAML documents, expected one"},
        {"two documents", node + "---\n" + node, "f.yaml:1: found 2 YAML documents, expected one"},
        {"a list", "- a\n", "f.yaml:1: found a list, expected a mapping"},
        {"a word", "node\n", "f.yaml:1: found \"node\", expected a mapping"},
        {"a list as a key", node + "? [a]\n: b\n", "f.yaml:2: found a list, expected a word as the key"},
    });
}

TEST_CASE("bad file: what is not YAML says where, in the library's words") {
    for (std::string rest : {"ca: {ttl: 1s\nworkers: 2\n", "ca:\n\tttl: 1s\n", "a: b\n  c: d\n", "a: b\n*nobody\n"}) {
        CAPTURE(rest);
        CHECK(error_of(node + rest).starts_with("f.yaml:3: not YAML: "));
    }
}

TEST_CASE("bad file: keys") {
    check({
        {"missing section", "workers: 1\n", "f.yaml:1: node: missing, expected a mapping"},
        {"missing key", "workers: 1\nnode:\n  network: x\n", "f.yaml:3: node.name: missing, expected this node's name"},
        {"misspelt", node + "limits:\n  maxPod: 3\n",
         "f.yaml:3: limits.maxPod: found an unknown key, did you mean maxPods?"},
        {"unknown", node + "shutdown:\n  whatever: 3\n",
         "f.yaml:3: shutdown.whatever: found an unknown key, expected deadline"},
        {"unknown among many", node + "doors: {panel: 1}\n",
         "f.yaml:2: doors.panel: found an unknown key, expected metrics, ready, admin or control"},
        {"strange", node + "\"a b\": 3\n",
         "f.yaml:2: [\"a b\"]: found an unknown key, expected node, capture, ca, log, workers, shutdown, doors, "
         "dns, limits, "
         "keepalive, pods, workloads, services, policies or unknownPolicy"},
        {"twice", node + "workers: 1\n" + node, "f.yaml:3: node: found a second time, first on line 1; remove one"},
        {"twice, deep", node + "log:\n  level: info\n  format: text\n  level: debug\n",
         "f.yaml:5: log.level: found a second time, first on line 3; remove one"},
        {"twice, where unknown keys are ignored", workload("locality: {x: a, x: b}"),
         "f.yaml:4: workloads[0].locality.x: found a second time, first on line 4; remove one"},
        {"merge keys are no keys of ours", node + "log: {<<: {level: info}}\n",
         "f.yaml:2: log[\"<<\"]: found an unknown key, expected level, format or access"},
    });
}

TEST_CASE("bad file: the first mistake of the file is the one that is told") {
    check({
        {"later section first", "services: 1\nworkers: x\n", "f.yaml:1: services: found \"1\", expected a list"},
        {"and the other way round", "workers: x\nservices: 1\n",
         "f.yaml:1: workers: found \"x\", expected a number from 0 to 1024"},
    });
}

TEST_CASE("bad file: settings") {
    const std::string time = R"(a time such as "100ms", "90s", "5m" or "24h")";
    check({
        {"null section", "node:\n", "f.yaml:1: node: found nothing, expected a mapping"},
        {"list for text", "node: {name: [a]}\n", "f.yaml:1: node.name: found a list, expected this node's name"},
        {"a folder's name", "node: {name: ../x}\n",
         "f.yaml:1: node.name: found \"../x\", expected letters, digits, -, _ and dots, with neither - nor . in front"},
        {"an option's name", "node: {name: --x}\n",
         "f.yaml:1: node.name: found \"--x\", expected letters, digits, -, _ and dots, with neither - nor . in front"},
        {"empty name", "node: {name: \"\"}\n", "f.yaml:1: node.name: found \"\", expected this node's name"},
        {"null name", "node:\n  network: a\n  name:\n",
         "f.yaml:3: node.name: found nothing, expected this node's name"},
        {"capture", node + "capture: tproxy\n", "f.yaml:2: capture: found \"tproxy\", expected ebpf or iptables"},
        {"log level", node + "log: {level: loud}\n",
         "f.yaml:2: log.level: found \"loud\", expected debug, info, warn, error or off"},
        {"log format", node + "log: {format: xml}\n", "f.yaml:2: log.format: found \"xml\", expected text or json"},
        {"workers", node + "workers: -1\n", "f.yaml:2: workers: found \"-1\", expected a number from 0 to 1024"},
        {"workers, too many", node + "workers: 1025\n",
         "f.yaml:2: workers: found \"1025\", expected a number from 0 to 1024"},
        {"hexadecimal", node + "workers: 0x2\n", "f.yaml:2: workers: found \"0x2\", expected a number from 0 to 1024"},
        {"limit 0", node + "limits: {maxPods: 0}\n",
         "f.yaml:2: limits.maxPods: found \"0\", expected a number from 1 to 2147483647"},
        {"time without unit", node + "ca: {ttl: 24}\n",
         "f.yaml:2: ca.ttl: found \"24\", expected " + time + ", not shorter than 1000ms"},
        {"time too short", node + "ca: {ttl: 999ms}\n",
         "f.yaml:2: ca.ttl: found \"999ms\", expected " + time + ", not shorter than 1000ms"},
        {"time of an unknown unit", node + "shutdown: {deadline: 1d}\n",
         "f.yaml:2: shutdown.deadline: found \"1d\", expected " + time},
        {"no time at all", node + "limits: {connectTimeout: 0s}\n",
         "f.yaml:2: limits.connectTimeout: found \"0s\", expected " + time},
        {"keepalive in parts of a second", node + "keepalive: {time: 1500ms}\n",
         "f.yaml:2: keepalive.time: found \"1500ms\", expected whole seconds up to 32767s"},
        {"keepalive too long", node + "keepalive: {interval: 32768s}\n",
         "f.yaml:2: keepalive.interval: found \"32768s\", expected whole seconds up to 32767s"},
        {"user timeout too long", node + "keepalive: {userTimeout: 597h}\n",
         "f.yaml:2: keepalive.userTimeout: found \"597h\", expected not more than 596h"},
        {"admin door for everybody", node + "doors: {admin: \"0.0.0.0:15000\"}\n",
         "f.yaml:2: doors.admin: found \"0.0.0.0:15000\", expected a loopback address and port such as "
         "\"127.0.0.1:15000\", or \"\" for no door"},
        {"door", node + "doors: {ready: 15021}\n",
         "f.yaml:2: doors.ready: found \"15021\", expected an address and port such as \"[::]:15020\", or \"\" for no "
         "door"},
        {"ca, both kinds", node + "ca: {directory: d, certificate: c, key: k}\n",
         "f.yaml:2: ca.directory: found beside certificate and key; keep either the directory or the two files"},
        {"ca, no key", node + "ca:\n  certificate: c\n",
         "f.yaml:3: ca: found only certificate; certificate and key belong together"},
        {"ca, no certificate", node + "ca: {key: k}\n",
         "f.yaml:2: ca: found only key; certificate and key belong together"},
    });
}

TEST_CASE("bad file: exclusions") {
    auto excluded = [](const std::string& keys) { return "node: {name: n, exclude: {" + keys + "}}\n"; };
    auto ports = [](int first, int count) {
        std::string list;
        for (int i = 0; i < count; ++i) list += (i ? ", " : "") + std::to_string(first + i);
        return "[" + list + "]";
    };
    auto both = [&](const std::string& of_node, const std::string& of_pod) {
        return excluded(of_node) + "pods:\n- {" + good_pod + ",\n   exclude: {" + of_pod + "}}\nworkloads:\n- {" +
               good_workload + "}\n";
    };
    const std::string range = R"(an address range such as "10.0.0.0/8" or "fd00::/64")";
    check({
        {"port 0", excluded("outboundPorts: [0]"),
         "f.yaml:1: node.exclude.outboundPorts[0]: found \"0\", expected a number from 1 to 65535"},
        {"no port", excluded("inboundPorts: [http]"),
         "f.yaml:1: node.exclude.inboundPorts[0]: found \"http\", expected a number from 1 to 65535"},
        {"a port of ours", excluded("inboundPorts: [80, 15008]"),
         "f.yaml:1: node.exclude.inboundPorts[1]: found \"15008\", expected a port of an app, from 1 to 65535; this "
         "one is the mesh's own"},
        {"not a list", excluded("outboundPorts: 80"),
         "f.yaml:1: node.exclude.outboundPorts: found \"80\", expected a list"},
        {"misspelt", excluded("outboundCIDRs: []"),
         "f.yaml:1: node.exclude.outboundCIDRs: found an unknown key, expected outboundPorts, outboundCidrs or "
         "inboundPorts"},
        {"too long a prefix", excluded("outboundCidrs: [10.9.0.0/33]"),
         "f.yaml:1: node.exclude.outboundCidrs[0]: found \"10.9.0.0/33\", expected " + range},
        {"host bits", excluded("outboundCidrs: [10.9.1.0/16]"),
         "f.yaml:1: node.exclude.outboundCidrs[0]: found \"10.9.1.0/16\", an address within a range; did you mean "
         "10.9.0.0/16 or 10.9.1.0/32?"},
        {"host bits, IPv6", excluded("outboundCidrs: [\"fd00::1/64\"]"),
         "f.yaml:1: node.exclude.outboundCidrs[0]: found \"fd00::1/64\", an address within a range; did you mean "
         "fd00::/64 or fd00::1/128?"},
        {"everything", excluded("outboundCidrs: [\"::/0\"]"),
         "f.yaml:1: node.exclude.outboundCidrs[0]: found \"::/0\", which is every address; to take a pod out of the "
         "mesh, remove it from pods"},
        {"too many", excluded("outboundPorts: " + ports(1, 17)),
         "f.yaml:1: node.exclude.outboundPorts: found 17 ports, expected at most 16; remove some"},
        {"too many of a pod", both("inboundPorts: []", "inboundPorts: " + ports(1, 17)),
         "f.yaml:4: pods[0].exclude.inboundPorts: found 17 ports, expected at most 16; remove some"},
        {"too many together", both("outboundPorts: " + ports(1, 9), "outboundPorts: " + ports(9, 9)),
         "f.yaml:4: pods[0].exclude: found 17 outbound ports together with those of node.exclude, expected at most 16; "
         "remove some"},
        {"as many as fit together", both("outboundPorts: " + ports(1, 9), "outboundPorts: " + ports(9, 8)), "accepted"},
    });
}

TEST_CASE("bad file: workloads") {
    check({
        {"not a list", node + "workloads: {}\n", "f.yaml:2: workloads: found a mapping, expected a list"},
        {"no uid", node + "workloads:\n- namespace: a\n  workloadIps: []\n",
         "f.yaml:3: workloads[0].uid: missing, expected a uid that no other workload has"},
        {"no addresses", node + "workloads:\n- {uid: w, namespace: a}\n",
         "f.yaml:3: workloads[0].workloadIps: missing, expected a list"},
        {"protocol", workload("protocol: UDP"),
         "f.yaml:4: workloads[0].protocol: found \"UDP\", expected TCP or HBONE"},
        {"protocol, lower case", workload("protocol: hbone"),
         "f.yaml:4: workloads[0].protocol: found \"hbone\", expected TCP or HBONE"},
        {"network mode", workload("networkMode: Host"),
         "f.yaml:4: workloads[0].networkMode: found \"Host\", expected Standard or HostNetwork"},
        {"status", workload("status: Ill"),
         "f.yaml:4: workloads[0].status: found \"Ill\", expected Healthy or Unhealthy"},
        {"capacity", workload("capacity: 4294967296"),
         "f.yaml:4: workloads[0].capacity: found \"4294967296\", expected a number from 0 to 4294967295"},
        {"flag", workload("nativeTunnel: yes"),
         "f.yaml:4: workloads[0].nativeTunnel: found \"yes\", expected true or false"},
        {"address", node + "workloads:\n- {uid: w, namespace: a, workloadIps: [10.0.0.1, 10.0.0.0/8]}\n",
         "f.yaml:3: workloads[0].workloadIps[1]: found \"10.0.0.0/8\", expected an IP address; without port or prefix "
         "length"},
        {"service key", workload("services: {web: {80: 8080}}"),
         "f.yaml:4: workloads[0].services.web: found \"web\", expected \"<namespace>/<hostname>\" of a service"},
        {"service key in three parts", workload("services: {a/b/web: {80: 8080}}"),
         "f.yaml:4: workloads[0].services[\"a/b/web\"]: found \"a/b/web\", expected \"<namespace>/<hostname>\" of a "
         "service"},
        {"service port", workload("services: {a/web: {0: 8080}}"),
         "f.yaml:4: workloads[0].services[\"a/web\"][\"0\"]: found \"0\", expected a number from 1 to 65535"},
        {"target port", workload("services: {a/web: {80: 65536}}"),
         "f.yaml:4: workloads[0].services[\"a/web\"][\"80\"]: found \"65536\", expected a number from 1 to 65535"},
        {"service ports as a list", workload("services: {a/web: [80]}"),
         "f.yaml:4: workloads[0].services[\"a/web\"]: found a list, expected a mapping"},
        {"services as config_dump prints them", workload("services: [a/web]"),
         "f.yaml:4: workloads[0].services: found a list, expected a mapping"},
        {"unknown service", workload("services: {a/web: {80: 8080}}"),
         "f.yaml:4: workloads[0].services[\"a/web\"]: no service of this file has this namespace and host name"},
        {"same uid",
         node + "workloads:\n- {uid: w, namespace: a, workloadIps: []}\n- {uid: w, namespace: b, workloadIps: []}\n",
         "f.yaml:4: workloads[1].uid: found \"w\", which the workload on line 3 has already; each has its own"},
        {"text too long to show", workload("protocol: " + std::string(100, 'x')),
         "f.yaml:4: workloads[0].protocol: found \"" + std::string(80, 'x') + "\"..., expected TCP or HBONE"},
        {"text that a terminal should not see", workload("protocol: \"a\\e[31m\\n\\x7f\""),
         "f.yaml:4: workloads[0].protocol: found \"a\\u001b[31m\\n\\u007f\", expected TCP or HBONE"},
    });
}

TEST_CASE("bad file: services") {
    check({
        {"vip without network",
         node + "services:\n- {name: s, namespace: a, hostname: s.a, vips: [10.1.0.1], ports: {}}\n",
         "f.yaml:3: services[0].vips[0]: found \"10.1.0.1\", expected \"<network>/<ip>\", such as \"/10.1.0.1\" for "
         "the "
         "network without a name"},
        {"ports missing", node + "services:\n- {name: s, namespace: a, hostname: s.a, vips: []}\n",
         "f.yaml:3: services[0].ports: missing, expected a mapping of service ports to target ports"},
        {"port twice", node + "services:\n- {name: s, namespace: a, hostname: s.a, vips: [], ports: {80: 1, 080: 2}}\n",
         "f.yaml:3: services[0].ports[\"080\"]: found a second time; remove one"},
        {"cidr", service("cidrVips: [{network: \"\", cidr: 10.0.0.0/33}]"),
         "f.yaml:4: services[0].cidrVips[0].cidr: found \"10.0.0.0/33\", expected an address range such as "
         "\"10.0.0.0/8\" or \"fd00::/64\""},
        {"san", service("subjectAltNames: [web]"),
         "f.yaml:4: services[0].subjectAltNames[0]: found \"web\", expected spiffe://<trust "
         "domain>/ns/<namespace>/sa/<service account>"},
        {"families", service("ipFamilies: IPv5"),
         "f.yaml:4: services[0].ipFamilies: found \"IPv5\", expected Dual, IPv4 or IPv6"},
        {"visibility", service("visibility: Secret"),
         "f.yaml:4: services[0].visibility: found \"Secret\", expected Public or Namespace"},
        {"load balancer half said", service("loadBalancer: {mode: Strict}"),
         "f.yaml:4: services[0].loadBalancer.routingPreferences: missing, expected a list"},
        {"scope", service("loadBalancer: {mode: Strict, routingPreferences: [Rack], healthPolicy: AllowAll}"),
         "f.yaml:4: services[0].loadBalancer.routingPreferences[0]: found \"Rack\", expected Region, Zone, Subzone, "
         "Node, Cluster or Network"},
        {"mode", service("loadBalancer: {mode: Random, routingPreferences: [], healthPolicy: AllowAll}"),
         "f.yaml:4: services[0].loadBalancer.mode: found \"Random\", expected Standard, Strict, Failover or "
         "Passthrough"},
        {"endpoint of nobody", service("endpoints: {w: {workloadUid: w, port: {}}}"),
         "f.yaml:4: services[0].endpoints.w: no workload of this file has this uid"},
        {"endpoint with two names", service("endpoints: {w: {workloadUid: v, port: {}}}"),
         "f.yaml:4: services[0].endpoints.w.workloadUid: found \"v\", expected the key of this endpoint, \"w\""},
        {"endpoint's port", service("endpoints: {w: {workloadUid: w, port: {80: 0}}}"),
         "f.yaml:4: services[0].endpoints.w.port[\"80\"]: found \"0\", expected a number from 1 to 65535"},
        {"same service", service("canonical: true") + "- {name: t, namespace: a, hostname: s.a, vips: [], ports: {}}\n",
         "f.yaml:5: services[1]: found \"a/s.a\", which the service on line 3 has already; each has its own"},
    });
}

TEST_CASE("bad file: what is not done yet is refused, not ignored") {
    const std::string gateway = "{destination: a/way.a, hboneMtlsPort: 15008}";
    check({
        {"waypoint", workload("waypoint: " + gateway),
         "f.yaml:4: workloads[0].waypoint: waypoints are not supported yet; remove this key"},
        {"waypoint by address", workload("waypoint: {destination: /10.0.0.9, hboneMtlsPort: 15008}"),
         "f.yaml:4: workloads[0].waypoint: waypoints are not supported yet; remove this key"},
        {"waypoint, wrong as well", workload("waypoint: {destination: way, hboneMtlsPort: 15008}"),
         "f.yaml:4: workloads[0].waypoint.destination: found \"way\", expected \"<network>/<ip>\" or "
         "\"<namespace>/<hostname>\""},
        {"waypoint of a service", service("waypoint: " + gateway),
         "f.yaml:4: services[0].waypoint: waypoints are not supported yet; remove this key"},
        {"weighted waypoints", service("weightedWaypoints: [{destination: " + gateway + ", weight: 1}]"),
         "f.yaml:4: services[0].weightedWaypoints: waypoints are not supported yet; remove this key"},
        {"gateway", workload("networkGateway: " + gateway),
         "f.yaml:4: workloads[0].networkGateway: gateways to other networks are not supported yet; remove this key"},
        {"application tunnel", workload("applicationTunnel: {protocol: PROXY, port: 1}"),
         "f.yaml:4: workloads[0].applicationTunnel: tunnels to applications are not supported yet; remove this key"},
        {"application tunnel, wrong as well", workload("applicationTunnel: {protocol: SOCKS, port: null}"),
         "f.yaml:4: workloads[0].applicationTunnel.protocol: found \"SOCKS\", expected NONE or PROXY"},
        {"host name alone", node + "workloads:\n- {uid: w, namespace: a, workloadIps: [], hostname: w.example}\n",
         "f.yaml:3: workloads[0].hostname: a workload known only by its host name is not supported yet; give its "
         "workloadIps"},
        {"a policy that is not there", workload("authorizationPolicies: [a/p]"),
         "f.yaml:4: workloads[0].authorizationPolicies[0]: no policy of this file has this namespace and name, "
         "and there is no unknownPolicy: deny or allow"},
        {"a policy without its namespace", workload("authorizationPolicies: [p]"),
         "f.yaml:4: workloads[0].authorizationPolicies[0]: found \"p\", expected \"<namespace>/<name>\" of a policy"},
    });
}

TEST_CASE("bad file: a bad policy says where") {
    const std::string where = "f.yaml:4: policies[0].rules[0][0][0].";
    const std::string a_match =
        "expected !Exact, !Prefix or !Suffix with text, !Presence [], or a mapping such as {Exact: text}";
    check({
        {"scope", node + "policies:\n- {name: p, namespace: a, scope: Pod, action: Allow, rules: [], dryRun: true}\n",
         "f.yaml:3: policies[0].scope: found \"Pod\", expected Global, Namespace or WorkloadSelector"},
        {"action",
         node + "policies:\n- {name: p, namespace: a, scope: Global, action: Audit, rules: [], dryRun: true}\n",
         "f.yaml:3: policies[0].action: found \"Audit\", expected Allow or Deny"},
        {"dry run left out", node + "policies:\n- {name: p, namespace: a, scope: Global, action: Deny, rules: []}\n",
         "f.yaml:3: policies[0].dryRun: missing, expected true or false"},
        {"rules too flat",
         node + "policies:\n- {name: p, namespace: a, scope: Global, action: Deny, rules: [{}], dryRun: true}\n",
         "f.yaml:3: policies[0].rules[0]: found a mapping, expected a list"},
        {"bare text", match("principals: [a]"), where + "principals[0]: found \"a\", " + a_match},
        {"unknown tag", match("principals: [!Regex a]"), where + "principals[0]: found \"a\", " + a_match},
        {"unknown kind", match("principals: [{Regex: a}]"), where + "principals[0].Regex: found \"Regex\", " + a_match},
        {"two kinds", match("principals: [{Exact: a, Prefix: b}]"),
         where + "principals[0]: found a mapping, expected one of Exact, Prefix, Suffix or Presence"},
        {"exact nothing", match("principals: [{Exact: }]"),
         where + "principals[0].Exact: found nothing, expected text after Exact"},
        {"tag on a list", match("principals: [!Exact [a]]"),
         where + "principals[0]: found a list, expected text after Exact"},
        {"presence of something", match("principals: [!Presence [a]]"),
         where + "principals[0][0]: found \"a\", expected an empty list after Presence"},
        {"account", match("serviceAccounts: [{namespace: a}]"),
         where + "serviceAccounts[0].serviceAccount: missing, expected text"},
        {"range", match("sourceIps: [10.0.0.0/8, all]"),
         where + "sourceIps[1]: found \"all\", expected an address range such as \"10.0.0.0/8\" or \"fd00::/64\""},
        {"twice the same",
         node + "policies:\n- {name: p, namespace: a, scope: Global, action: Deny, rules: [], dryRun: "
                "true}\n- {name: p, namespace: a, scope: Global, action: Allow, rules: [], dryRun: true}\n",
         "f.yaml:4: policies[1]: found \"a/p\", which the policy on line 3 has already; each has its own"},
        {"what would widen it if it were passed over", match("destinationPorts: [80], hosts: [a]"),
         where + "hosts: found an unknown key, expected namespaces, notNamespaces, principals, notPrincipals, "
                 "serviceAccounts, notServiceAccounts, sourceIps, notSourceIps, destinationIps, notDestinationIps, "
                 "destinationPorts or notDestinationPorts"},
        {"port", match("destinationPorts: [80, http]"),
         where + "destinationPorts[1]: found \"http\", expected a number from 1 to 65535"},
    });
}

TEST_CASE("bad file: pods") {
    check({
        {"no netns", node + "pods:\n- {uid: w, name: web, namespace: a, serviceAccount: sa}\n",
         "f.yaml:3: pods[0].netns: missing, expected the path of the pod's network namespace"},
        {"virtual interface",
         node + "pods:\n- {" + good_pod + ", virtualInterfaces: [docker0, an-interface-too-long]}\n",
         "f.yaml:3: pods[0].virtualInterfaces[1]: found \"an-interface-too-long\", expected an interface's name of at "
         "most 15 letters"},
        {"no workload", pod_and_workload(good_pod, "uid: v, namespace: a, workloadIps: []"),
         "f.yaml:3: pods[0].uid: found \"w\" of pod \"web\", expected the uid of a workload: there are \"v\"; add a "
         "workload with this uid or remove the pod"},
        {"no workloads at all", node + "pods: [{" + good_pod + "}]\n",
         "f.yaml:2: pods[0].uid: found \"w\" of pod \"web\", expected the uid of a workload: there is none; add a "
         "workload with this uid or remove the pod"},
        {"another namespace", pod_and_workload(good_pod, "uid: w, namespace: b, serviceAccount: sa, workloadIps: []"),
         "f.yaml:3: pods[0].namespace: found \"a\", but the workload on line 5 has \"b\"; make them the same"},
        {"another service account", pod_and_workload(good_pod, "uid: w, namespace: a, workloadIps: []"),
         "f.yaml:3: pods[0].serviceAccount: found \"sa\", but the workload on line 5 has \"\"; make them the same"},
        {"same uid", pod_and_workload(good_pod + "}\n- {" + good_pod, good_workload),
         "f.yaml:4: pods[1].uid: found \"w\", which the pod on line 3 has already; each has its own"},
        {"same netns",
         pod_and_workload(good_pod + "}\n- {uid: v, name: v, namespace: a, serviceAccount: sa, netns: /run/netns/x",
                          good_workload + "}\n- {uid: v, namespace: a, serviceAccount: sa, workloadIps: []"),
         "f.yaml:4: pods[1].netns: found \"/run/netns/x\", which the pod on line 3 has already; each has its own"},
        {"too many",
         "limits: {maxPods: 1}\n" +
             pod_and_workload(good_pod + "}\n- {uid: v, name: v, namespace: a, serviceAccount: sa, netns: y",
                              good_workload),
         "f.yaml:4: pods: found 2 pods, but limits.maxPods is 1; raise it"},
    });
}

TEST_CASE("bad file: of many workloads some are named") {
    std::string text = node + "pods: [{" + good_pod + "}]\nworkloads:\n";
    for (int i = 0; i < 10; ++i) text += "- {uid: u" + std::to_string(i) + ", namespace: a, workloadIps: []}\n";
    CHECK(
        error_of(text) ==
        "f.yaml:2: pods[0].uid: found \"w\" of pod \"web\", expected the uid of a workload: there are \"u0\", \"u1\", "
        "\"u2\", \"u3\", \"u4\", \"u5\", \"u6\", \"u7\" and 2 more; add a workload with this uid or remove the pod");
}

}
