// SPDX-License-Identifier: Apache-2.0
#include <ctl/figures.hpp>
#include <ctl/table.hpp>

#include <doctest/doctest.h>

using namespace culvert::ctl;

namespace {

Table three() {
    using enum Column::Align;
    Table table{{{"NAME", left, 6}, {"COUNT", right}, {"LAST"}}};
    table.add({"a", "1", "x"});
    table.add({"a-long-name", "12345678", ""});
    return table;
}

}

TEST_SUITE("ctl") {

TEST_CASE("table: columns are as wide as what is in them, and no line ends in blanks") {
    CHECK(three().text({}) ==
          "NAME            COUNT  LAST\n"
          "a                   1  x\n"
          "a-long-name  12345678\n");
}

TEST_CASE("table: a terminal that is too narrow cuts what may be cut, from its beginning") {
    CHECK(three().text({.width = 24}) ==
          "NAME         COUNT  LAST\n"
          "a                1  x\n"
          "…ng-name  12345678\n");
    CHECK(three().text({.width = 5}) ==
          "NAME       COUNT  LAST\n"
          "a              1  x\n"
          "…-name  12345678\n");
}

TEST_CASE("table: titles are bold where there are colours") {
    CHECK(three().text({.colour = true}).starts_with("\033[1mNAME            COUNT  LAST\033[0m\n"));
}

TEST_CASE("table: what would move the cursor is shown as a question mark") {
    Table table{{{"A"}}};
    table.add({"\033[2Jx\n"});
    CHECK(table.text({}) == "A\n?[2Jx?\n");
}

TEST_CASE("figures: bytes, times and rates are for people") {
    CHECK(bytes(0) == "0 B");
    CHECK(bytes(1023) == "1023 B");
    CHECK(bytes(1536) == "1.5 KiB");
    CHECK(bytes(1024.0 * 1024 - 1) == "1.0 MiB");
    CHECK(time_span(0.44) == "0.4s");
    CHECK(time_span(59.9) == "59s");
    CHECK(time_span(187) == "3m07s");
    CHECK(time_span(5 * 3600 + 240) == "5h04m");
    CHECK(time_span(12 * 86400 + 3 * 3600) == "12d3h");
    CHECK(per_second(0) == "0");
    CHECK(per_second(0.5) == "0.5");
    CHECK(per_second(1200.4) == "1200");
    auto now = std::chrono::system_clock::from_time_t(1'700'000'000);  // 2023-11-14T22:13:20Z
    CHECK(time_until("2023-11-14T23:13:20Z", now) == "in 1h00m");
    CHECK(time_until("2023-11-14T22:12:20Z", now) == "1m00s ago");
}

}
