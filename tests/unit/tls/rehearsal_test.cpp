// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <culvert/tls/rehearsal.hpp>

#include "fixtures.hpp"

using namespace fixtures;

TEST_SUITE("tls") {
TEST_CASE("rehearsal: good credentials shake hands with themselves, and those that their own roots do not know fail") {
    Issuer root = Issuer::root("cluster.local");
    CHECK(tls::rehearse(good(root, alice)).has_value());

    tls::Pem pem = leaf(root, {.uris = {alice.to_string()}});
    pem.roots = Issuer::root("elsewhere").pem();
    auto failed = tls::rehearse(credentials(pem, alice));
    REQUIRE_FALSE(failed.has_value());
    CHECK(failed.error().to_string().find("tls handshake error") != std::string::npos);
}
}
