// SPDX-License-Identifier: Apache-2.0
// A node whose time is set while it works, by more than its certificates live. The machine's own clock stays as it is:
// a preloaded library tells each daemon what time it is.
#include <doctest/doctest.h>

#include <string>

#include "bystander.hpp"
#include "load.hpp"
#include "moved_clock.hpp"
#include "orders.hpp"
#include "outcome.hpp"
#include "server.hpp"
#include "world.hpp"

using namespace culvert::test;

namespace {

constexpr const char* once = "what time it is does not depend on the capture";
constexpr Family v4 = Family::v4;
constexpr std::int64_t day = 25 * 3600;  // and more than the 24 hours of a certificate

class Clocks : public Orders<ClockOrders> {
public:
    Clocks() : Orders{CULVERT_MOVED_CLOCK, "CULVERT_CLOCK_ORDERS"} {}
    void set(const Node& node, std::int64_t seconds) {
        auto& moved = (*this)->moved[node.number() - 1];
        moved.seconds = seconds;
        moved.daemon = node.pid();
    }
};

double renewals(const Node& node) {
    return total(node.metrics(), "culvert_certificate_renewals_total");
}

struct Kept {
    std::string name;
    Connection connection;
};

struct Jump {
    std::string name;
    std::int64_t to;       // seconds from the machine's time
    std::string other_is;  // the other node's certificates, for the one that jumps first
};

}

TEST_SUITE("clock") {

TEST_CASE(
    "clock: when it jumps by a day, what is open goes on, certificates are renewed and new tunnels go by the new "
    "time" IPV4 EBPF_ONLY(once)) {
    Clocks clocks;
    auto preloaded = std::make_unique<Clocks::Preloaded>(clocks);
    World world;
    preloaded.reset();
    Server far{world.far.netns(), 8080, apps::echo};
    Server near{world.near.netns(), 8080, apps::echo};
    Server plain{world.plain2.netns(), 8080, apps::echo};
    std::vector<Kept> kept;
    kept.push_back({"to the other node", world.client.dial(world.far.at(v4, 8080))});
    kept.push_back({"on the node", world.client.dial(world.near.at(v4, 8080))});
    kept.push_back({"plain", world.client.dial(world.plain2.at(v4, 8080))});
    const auto all_go_on = [&] {
        for (Kept& each : kept) CHECK_MESSAGE(each.connection.echoes("still here"), each.name);
    };
    all_go_on();
    Load load{world.client, world.near.at(v4, 8080), "in good faith"};
    CHECK(load.goes_on());
    world.mark();
    for (const Jump& jump :
         {Jump{"a day on", day, "certificate has expired"}, Jump{"two days back", -day, "certificate is not yet valid"},
          Jump{"to the right time", 0, "certificate has expired"}}) {
        CAPTURE(jump.name);
        const double one = renewals(world.one), two = renewals(world.two);
        clocks.set(world.one, jump.to);
        CHECK(eventually(15s, [&] { return renewals(world.one) == one + 2; }));  // client and server
        all_go_on();
        CHECK(load.goes_on());
        // In the very moment one worker may have its new certificates and call the other, which is of yesterday.
        const int failed = load.failed();
        // A new tunnel is needed, and the other node is of yesterday, or of tomorrow.
        CHECK(fate(world.client.netns(), {.to = world.far.at(v4, 8080)}) == "reset");
        CHECK(logged(world.one, jump.other_is));
        clocks.set(world.two, jump.to);
        CHECK(eventually(15s, [&] { return renewals(world.two) == two + 1; }));
        CHECK(world.client.dial(world.far.at(v4, 8080)).echoes("of the same day again"));
        all_go_on();
        CHECK(renewals(world.one) == one + 2);
        CHECK(load.goes_on());
        CHECK_MESSAGE(load.failed() == failed, load.first_failure());
        world.mark();
    }
    load.stop();
    // How long they lasted is no matter of what day it was.
    for (Kept& each : kept) each.connection.end_sending();
    const auto line = world.one.access_log().wait_for({{"dst.addr", world.plain2.at(v4, 8080).to_string()}});
    CHECK_MESSAGE(line["duration"].ends_with("ms"), line.raw);
    CHECK_MESSAGE(std::atol(line["duration"].c_str()) < 300'000, line.raw);
    CHECK_MESSAGE(std::atol(line["duration"].c_str()) > 0, line.raw);
}

TEST_CASE(
    "clock: while no certificate can be had, calls either way wait for one, and hear why when it takes too "
    "long" IPV4 EBPF_ONLY(once)) {
    constexpr std::int64_t decade = 11 * 365 * day;  // and more than the life of a root
    Clocks clocks;
    auto preloaded = std::make_unique<Clocks::Preloaded>(clocks);
    World world{[](Mesh& mesh) { mesh.settings.extra = "limits: {connectTimeout: 3s}\n"; }};
    preloaded.reset();
    Server far{world.far.netns(), 8080, apps::echo};
    Server near{world.near.netns(), 8080, apps::echo};
    const auto waiting = [&](double wanted) {
        return eventually(3s,
                          [&] { return total(world.one.metrics(), "culvert_proxy_certificate_waiting") == wanted; });
    };
    const auto waits_and_goes_on = [&](Pod& from, const SocketAddress& to) {
        clocks.set(world.one, decade);
        Connection call = from.dial(to);
        CHECK(waiting(1));
        clocks.set(world.one, 0);
        CHECK(call.echoes("had to wait"));
        CHECK(waiting(0));
    };
    waits_and_goes_on(world.client, world.far.at(v4, 8080));
    CHECK(eventually(5s, [&] { return world.one.metrics()["culvert_certificates{state=\"available\"}"] == 2; }));
    waits_and_goes_on(world.far, world.near.at(v4, 8080));
    world.mark();
    clocks.set(world.one, decade);
    CHECK(fate(world.client.netns(), {.to = world.far.at(v4, 8080)}) == "reset");
    const auto line = world.one.access_log().wait_for({{"dst.addr", world.far.at(v4, 15008).to_string()}});
    CHECK_MESSAGE(line["error"].starts_with("identity error: the certificate of " + world.mesh.identity(world.client) +
                                            " expired at "),
                  line.raw);
    CHECK_MESSAGE(line["error"].find(": the root expired at ") != std::string::npos, line.raw);
}

}
