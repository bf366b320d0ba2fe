// SPDX-License-Identifier: Apache-2.0
#include "xds/backoff.hpp"

#include <doctest/doctest.h>

#include "xds/advice.hpp"

using namespace culvert;
using grpc::Code;
using grpc::Origin;
using xds::Termination;
using namespace std::chrono_literals;

TEST_SUITE("xds") {

TEST_CASE("backoff: failures double the wait up to the most, and half of it is chance") {
    xds::Backoff backoff{{}, 1};
    auto expected = 10ms;
    for (int i = 0; i < 20; ++i) {
        auto wait = backoff.after(i % 2 == 0 ? Termination::connection_error : Termination::error, 0ms);
        CAPTURE(i);
        CHECK(wait >= expected / 2);
        CHECK(wait <= expected);
        expected = std::min(expected * 2, 15'000ms);
    }
    // Nodes do not come back together.
    CHECK(xds::Backoff{{}, 1}.after(Termination::error, 0ms) <= 10ms);
    xds::Backoff one{{}, 1}, other{{}, 2};
    bool differ = false;
    for (int i = 0; i < 12; ++i) differ |= one.after(Termination::error, 0ms) != other.after(Termination::error, 0ms);
    CHECK(differ);
}

TEST_CASE("backoff: a connection that lived and went is followed at once; one that breaks again and again is not") {
    xds::Backoff backoff{{}, 1};
    for (int i = 0; i < 10; ++i) backoff.after(Termination::error, 0ms);
    CHECK(backoff.after(Termination::reconnect, 5s) == 10ms);
    CHECK(backoff.after(Termination::complete, 5s) == 10ms);
    CHECK(backoff.after(Termination::error, 5s) <= 10ms);  // begins anew
    std::chrono::milliseconds last{0};
    for (int i = 0; i < 12; ++i) last = backoff.after(Termination::reconnect, 20ms);
    CHECK(last >= 7'500ms);
}

TEST_CASE("backoff: why a stream ended, in ztunnel's words") {
    using xds::why_ended;
    CHECK(to_string(why_ended({}, false)) == "Complete");
    CHECK(to_string(why_ended({Code::cancelled, "", Origin::us, true}, true)) == "Error");
    CHECK(to_string(why_ended({Code::unavailable, "", Origin::connecting}, false)) == "ConnectionError");
    CHECK(to_string(why_ended({Code::unauthenticated, "", Origin::connecting}, false)) == "ConnectionError");
    CHECK(to_string(why_ended({Code::unauthenticated, "", Origin::server}, false)) == "Error");
    CHECK(to_string(why_ended({Code::unavailable, "", Origin::connection, true}, false)) == "Reconnect");
    CHECK(to_string(why_ended({Code::unavailable, "", Origin::server, false}, false)) == "ConnectionError");
    CHECK(to_string(why_ended({Code::internal, "", Origin::server, true}, false)) == "Error");
}

TEST_CASE("advice: what to look at stands behind what happened") {
    grpc::Target istiod;
    istiod.token = grpc::TokenFile{"/var/run/token"};
    istiod.cluster_id = "Kubernetes";
    CHECK(xds::advice({Code::unauthenticated, "authentication failure", Origin::server}, istiod) ==
          "Unauthenticated: authentication failure: istiod refused our token (the one in /var/run/token); it must be "
          "fresh "
          "and of the audience istio-ca, and \"Kubernetes\" a cluster that istiod knows");
    CHECK(xds::advice(
              {Code::unavailable, "connect to istiod:15012: Connection refused (os error 111)", Origin::connecting},
              istiod)
              .ends_with("is istiod running?"));
    CHECK(xds::advice({Code::internal, "boom", Origin::server}, istiod) == "Internal: boom");
}

}
