// SPDX-License-Identifier: Apache-2.0
// Plain connections that are refused at their SYN: which, how, and that the proxy would have refused them, too.
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/pkt_cls.h>

#include <algorithm>
#include <map>

#include <capture/policy_row.hpp>

#include <unit/policy/chance.hpp>
#include <unit/policy/reference.hpp>

#include <culvert/base/log.hpp>
#include <culvert/bpf/marks.h>

#include "packets.hpp"

namespace culvert::test {

namespace {

using base::IpAddress;
using policy::Plaintext;
using policy::PlaintextRule;

struct Syn {
    std::string from = "10.0.0.1";
    std::string to = "10.0.0.7";
    __u16 port = 80;
    unsigned flags = syn;
    bool v6() const { return to.find(':') != std::string::npos; }
};

Bytes packet(const Syn& asked) {
    Bytes segment = u16(40000) + u16(asked.port) + zeros(8) + Bytes{'\x50', static_cast<char>(asked.flags)} + zeros(6);
    if (asked.v6()) return ethernet(ip6, in_ipv6(asked.from.c_str(), 6, segment, asked.to.c_str()));
    Bytes ip = in_ipv4(asked.from.c_str(), 6, segment);
    return ethernet(ip4, ip.replace(16, 4, raw_ip(asked.to.c_str(), true)));
}

state::Cidr range(const char* text) {
    return *state::Cidr::parse(text);
}

const Plaintext all_of_it{{{range("0.0.0.0/0")}, {range("::/0")}}, true};

// A pod with two addresses, which is subject to this.
class Policed : public Programs {
public:
    explicit Policed(const Plaintext& plaintext = all_of_it) {
        own(CV_IPV4, pod4);
        own(CV_IPV6, pod6);
        police(plaintext);
    }
    void police(const Plaintext& plaintext) {
        cv_policy row;
        capture::put_policy(row, plaintext);
        row.version = ++version_;
        update((*this)->maps.cv_policy, cv_pod_key{pod_netns}, row);
    }
    void release() {
        cv_pod_key key{pod_netns};
        bpf_map__delete_elem((*this)->maps.cv_policy, &key, sizeof key, 0);
    }
    int verdict(const Bytes& bytes, Bytes* after = nullptr) { return run((*this)->progs.cv_in_guard, bytes, 0, after); }
    bool refuses(const Syn& asked) { return verdict(packet(asked)) == TC_ACT_REDIRECT; }

private:
    __u64 version_ = 0;
};

cv_note_key tuple_of(const Syn& asked) {
    return tuple(asked.v6() ? CV_IPV6 : CV_IPV4, asked.from.c_str(), 40000, asked.to.c_str(), asked.port);
}

Syn over(bool v6) {
    return v6 ? Syn{.from = "fd00::1", .to = "fd00::7"} : Syn{};
}

std::vector<cv_event> events(Policed& pod) {
    std::vector<cv_event> all;
    auto take = [](void* to, void* data, std::size_t size) {
        REQUIRE(size == sizeof(cv_event));
        static_cast<std::vector<cv_event>*>(to)->push_back(*static_cast<cv_event*>(data));
        return 0;
    };
    base::Handle<ring_buffer, ring_buffer__free> ring{
        ring_buffer__new(bpf_map__fd(pod->maps.cv_events), take, &all, nullptr)};
    REQUIRE(bool(ring));
    REQUIRE(ring_buffer__consume(ring.get()) >= 0);
    return all;
}

}

TEST_SUITE("policy") {

TEST_CASE("policy: what keeps the reads of a row in their order is in the program that runs") {
    Policed programs;
    std::vector<bpf_insn> all(4096);
    bpf_prog_info info{};
    info.xlated_prog_insns = reinterpret_cast<__u64>(all.data());
    info.xlated_prog_len = static_cast<__u32>(all.size() * sizeof(bpf_insn));
    __u32 size = sizeof info;
    REQUIRE(bpf_obj_get_info_by_fd(bpf_program__fd(programs->progs.cv_in_guard), &info, &size) == 0);
    REQUIRE(info.xlated_prog_len <= all.size() * sizeof(bpf_insn));
    all.resize(info.xlated_prog_len / sizeof(bpf_insn));
    CHECK(std::ranges::count_if(all, [](const bpf_insn& each) {
              return each.code == (BPF_ALU64 | BPF_AND | BPF_K) && each.imm == 0;
          }) == 1);
    CHECK(std::ranges::count_if(all, [](const bpf_insn& each) {
              return each.code == (BPF_STX | BPF_ATOMIC | BPF_DW) && each.imm == BPF_XCHG;
          }) == 1);
}

TEST_CASE("policy: a plain SYN is refused and told of, and anything that the proxy would not judge so is left to it") {
    for (bool v6 : {false, true}) {
        CAPTURE(v6);
        struct Row {
            const char* name;
            std::function<Bytes(Policed&)> arrives;
        };
        const Syn asked = over(v6);
        auto with = [asked](auto change) {
            return [asked, change](Policed& pod) {
                Syn other = asked;
                change(pod, other);
                return packet(other);
            };
        };
        const std::vector<Row> left{
            {"a tunnel", with([](Policed&, Syn& s) { s.port = CV_TUNNEL_PORT; })},
            {"to somebody else", with([v6](Policed&, Syn& s) { s.to = v6 ? "fd00::9" : "10.0.0.9"; })},
            {"a later packet", with([](Policed&, Syn& s) { s.flags = ack; })},
            {"an answer", with([](Policed&, Syn& s) { s.flags = syn_ack; })},
            {"a probe", with([](Policed& pod, Syn& s) { note(pod->maps.cv_probes, tuple_of(s)); })},
            {"an excluded port", with([](Policed& pod, Syn&) { pod.exclude({.inbound_ports = {80}}); })},
            {"the pod leaves", with([](Policed& pod, Syn&) { pod.set_state(CV_POD_LEAVING); })},
            {"the pod joins", with([](Policed& pod, Syn&) {
                 cv_pod_key key{Policed::pod_netns};
                 bpf_map__delete_elem(pod->maps.cv_pods, &key, sizeof key, 0);
             })},
            {"a VM's interface", with([](Policed& pod, Syn&) { pod.set_state(CV_POD_CAPTURING, {1}); })},
            {"a policy that has gone", with([](Policed& pod, Syn&) { pod.release(); })},
            {"somebody's loopback", with([v6](Policed&, Syn& s) { s.from = v6 ? "::1" : "127.0.0.1"; })},
            {"with headers between",
             [asked](Policed&) {
                 const Bytes whole = packet(asked);
                 return asked.v6() ? ethernet(ip6, in_ipv6("fd00::1", 60, extension(6) + whole.substr(54), "fd00::7"))
                                   : ethernet(ip4, in_ipv4("10.0.0.1", 6, whole.substr(34), 0, zeros(4))
                                                       .replace(16, 4, raw_ip("10.0.0.7", true)));
             }},
            {"for another machine", [asked](Policed&) { return "\2\2\2\2\2\2" + packet(asked).substr(6); }},
        };
        for (const Row& row : left) {
            CAPTURE(row.name);
            Policed pod;
            CHECK(pod.verdict(row.arrives(pod)) == TC_ACT_UNSPEC);
            CHECK(pod.total() == 0);
            CHECK(events(pod).empty());
        }
        Policed pod;
        note(pod->maps.cv_probes, tuple_of(asked), CV_NOTE_LIFE_NS);
        CHECK(pod.refuses(asked));
        CHECK(pod.count(&cv_counts::POLICY_REFUSED) == 1);
        CHECK(pod.total() == 1);
        const auto told = events(pod);
        REQUIRE(told.size() == 1);
        const cv_note_key wanted = tuple_of(asked);
        CHECK(told[0].netns_cookie == Programs::pod_netns);
        CHECK(std::equal(told[0].source_ip, told[0].source_ip + 16, wanted.source_ip));
        CHECK(std::equal(told[0].destination_ip, told[0].destination_ip + 16, wanted.destination_ip));
        CHECK(told[0].source_port == 40000);
        CHECK(told[0].destination_port == 80);
        CHECK(told[0].family == wanted.family);
        CHECK(told[0].reason == CV_REASON_POLICY_REFUSED);
        CHECK(told[0].at_ns != 0);
    }
    // IPv4 in IPv6 is not what it claims to be, and the kernel drops it.
    Policed pod;
    Bytes mapped = packet(over(true));
    mapped.replace(22, 16, Bytes(10, '\0') + "\xff\xff" + raw_ip("10.0.0.1", true));
    CHECK(pod.verdict(mapped) == TC_ACT_UNSPEC);
}

TEST_CASE("policy: the first rule that fits says, by range and by port, families kept apart") {
    Policed pod{{{{range("10.1.2.192/26"), 80, 80},
                  {range("10.1.2.0/24"), 0, 65535, false},
                  {range("10.1.0.0/16"), 80, 81},
                  {range("10.0.0.0/8"), 8080, 8080},
                  {range("fd00::/64"), 443, 443}},
                 true}};
    struct Row {
        const char* from;
        __u16 port;
        bool refused;
    };
    for (const Row& row : {Row{"10.1.2.1", 80, false}, Row{"10.1.2.200", 80, true}, Row{"10.1.2.200", 81, false},
                           Row{"10.1.3.1", 80, true}, Row{"10.1.3.1", 81, true}, Row{"10.1.3.1", 82, false},
                           Row{"10.1.3.1", 79, false}, Row{"10.1.3.1", 8080, true}, Row{"10.2.3.1", 80, false},
                           Row{"10.2.3.1", 8080, true}, Row{"11.0.0.1", 8080, false}, Row{"fd00::1", 443, true},
                           Row{"fd00:0:0:1::1", 443, false}, Row{"fd00::1", 80, false}, Row{"fd00::1", 442, false}}) {
        CAPTURE(row.from);
        CAPTURE(row.port);
        const bool v6 = std::string_view{row.from}.find(':') != std::string_view::npos;
        CHECK(pod.refuses({.from = row.from, .to = v6 ? pod6 : pod4, .port = row.port}) == row.refused);
    }
    // As many as there can be, and the last one counts.
    Plaintext many;
    for (int i = 0; i < CV_POLICY_RULES; ++i)
        many.rules.push_back({range(("10." + std::to_string(i) + ".0.0/16").c_str())});
    pod.police(many);
    CHECK(pod.refuses({.from = "10.31.0.1"}));
    CHECK_FALSE(pod.refuses({.from = "10.32.0.1"}));
}

TEST_CASE("policy: a refused SYN goes back as the reset that answers it, checksums right") {
    const Bytes macs = zeros(6) + "\1\1\1\1\1\1", back = macs.substr(6) + macs.substr(0, 6);
    for (bool v6 : {false, true}) {
        CAPTURE(v6);
        const Syn asked = over(v6);
        const Bytes from = raw_ip(asked.from.c_str(), !v6), to = raw_ip(asked.to.c_str(), !v6);
        const std::size_t start = v6 ? 54 : 34;
        Bytes whole = packet(asked).replace(0, 12, macs), after;
        whole.replace(start, 20, with_checksum(whole.substr(start), from + to));
        Bytes reset = u16(80) + u16(40000) + zeros(4) + Bytes("\0\0\0\1", 4) + "\x50\x14" + zeros(6);
        Bytes wanted = whole;
        wanted.replace(0, 12, back).replace(v6 ? 22 : 26, to.size() * 2, to + from);
        wanted.replace(start, 20, with_checksum(reset, to + from));
        Policed pod;
        CHECK(pod.verdict(whole, &after) == TC_ACT_REDIRECT);
        CHECK(after == wanted);
    }
}

TEST_CASE("policy: a flood fills the ring, and what found no room in it is counted") {
    Policed pod;
    constexpr unsigned flood = 2000;
    for (unsigned i = 0; i < flood; ++i) pod.refuses({});
    CHECK(pod.count(&cv_counts::POLICY_REFUSED) == flood);
    const auto told = events(pod).size();
    CHECK(told > 500);
    CHECK(told + pod.count(&cv_counts::EVENTS_FULL) == flood);
}

TEST_CASE("policy: a hundred thousand times the kernel refuses what proxy and rules refuse, and no other") {
    base::log::configure(base::log::Level::off, base::log::Format::text);
    Policed pod;
    std::map<std::string, Bytes> packets;
    auto refuses = [&](const std::string& from, const std::string& to, __u16 port) {
        Bytes& bytes = packets[from + " " + to + " " + std::to_string(port)];
        if (bytes.empty()) bytes = packet({.from = from, .to = to, .port = port});
        return pod.verdict(bytes) == TC_ACT_REDIRECT;
    };
    std::size_t refused = 0, allowed = 0, wrong = 0;
    for (std::uint32_t seed = 0; seed < 4000; ++seed) {
        policy::chance::Chance chance{seed};
        const auto all = policy::chance::policies(chance);
        const auto own = policy::chance::workload(chance, all);
        const auto unknown = static_cast<policy::Unknown>(chance.below(2));
        policy::Ledger ledger{1};
        const policy::Set set{state::Snapshot{{own}, {}}, all, ledger, unknown};
        const auto* compiled = set.of("w");
        const auto plaintext = plaintext_of(compiled, chance.one_in(4) ? chance.below(6) : CV_POLICY_RULES);
        pod.police(plaintext);
        for (int i = 0; i < 25; ++i) {
            const IpAddress source = chance.ip();
            if (source.is_loopback()) continue;  // is left, and dropped
            const IpAddress here = *IpAddress::parse(source.is_v4() ? pod4 : pod6);
            const policy::Connection c{source, {here, chance.port()}, nullptr};
            const bool denied = policy::reference::decide(all, own, c, unknown).verdict != policy::Verdict::allowed;
            const bool by_proxy = compiled && !decide(*compiled, c).allowed();
            const bool by_kernel = refuses(source.to_string(), here.to_string(), c.destination.port);
            refused += by_kernel;
            allowed += !denied;
            const bool agree = denied == by_proxy && (by_kernel ? denied : !denied || !plaintext.whole);
            if (agree || ++wrong > 5) continue;
            CAPTURE(seed);
            CAPTURE(i);
            FAIL_CHECK("they disagree");
        }
    }
    CHECK(wrong == 0);
    CHECK(refused > 10'000);
    CHECK(allowed > 10'000);
}

}

}
