// SPDX-License-Identifier: Apache-2.0
#include "records.hpp"

#include <doctest/doctest.h>

#include "instance.hpp"

using namespace culvert::capture;

TEST_SUITE("capture") {

TEST_CASE("records: what is written is read back") {
    Record record{.netns = {4026532324, 55661},
                  .node = {4026531840, 1},
                  .uid = "Kubernetes//Pod/default/a b",
                  .name = "default/a",
                  .tables = "-nft",
                  .addresses = {"10.0.0.1", "fd00::1"}};
    Record again = to_record(to_text(record));
    CHECK(again.netns == record.netns);
    CHECK(again.node == record.node);
    CHECK(again.uid == record.uid);
    CHECK(again.name == record.name);
    CHECK(again.tables == record.tables);
    CHECK(again.addresses == record.addresses);
}

TEST_CASE("records: no kind of iptables is one, too, and a file that is cut names nothing") {
    Record plain = to_record(to_text({.netns = {1, 2}, .tables = ""}));
    CHECK(plain.tables.empty());
    CHECK(to_record("").netns == NetnsName{});
    CHECK(to_record("netns 40").netns.cookie == 0);
}

TEST_CASE("records: an instance may have a node's name, of dots, too, but none that leads elsewhere") {
    for (const char* good : {"n1", "ip-10-0-0-1.eu-central-1.compute.internal", "a_b", "-x"}) {
        CAPTURE(good);
        CHECK(check_instance_name(good).has_value());
    }
    for (const std::string& bad : {std::string{}, std::string{"."}, std::string{".."}, std::string{".a"},
                                   std::string{"a/b"}, std::string{"a b"}, std::string(254, 'a')}) {
        CAPTURE(bad);
        CHECK_FALSE(check_instance_name(bad).has_value());
        CHECK_FALSE(Records::open(bad).has_value());
        CHECK_FALSE(Records::home_exists(bad));
    }
}

}
