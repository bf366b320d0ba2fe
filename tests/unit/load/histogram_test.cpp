// SPDX-License-Identifier: Apache-2.0
#include "histogram.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <random>
#include <vector>

using culvert::load::Histogram;

namespace {

// Within 1 % of the truth.
bool is_near(std::uint64_t measured, std::uint64_t truth) {
    return std::abs(static_cast<double>(measured) - static_cast<double>(truth)) <= 0.01 * static_cast<double>(truth);
}

}

TEST_SUITE("load") {

TEST_CASE("histogram: nothing in it, and every percentile is 0") {
    const auto empty = std::make_unique<Histogram>();
    CHECK(empty->total() == 0);
    CHECK(empty->percentile(0.5) == 0);
    CHECK(empty->max() == 0);
}

TEST_CASE("histogram: one value is every percentile, from 0 ns to an hour") {
    for (std::uint64_t value : {std::uint64_t{0}, std::uint64_t{1}, std::uint64_t{127}, std::uint64_t{128},
                                std::uint64_t{255}, std::uint64_t{256}, std::uint64_t{14'432},
                                std::uint64_t{999'999'999}, std::uint64_t{1} << 39, (std::uint64_t{1} << 40) - 1}) {
        CAPTURE(value);
        const auto one = std::make_unique<Histogram>();
        one->add(value);
        CHECK(is_near(one->percentile(0.001), value));
        CHECK(is_near(one->percentile(1), value));
        CHECK(one->max() == value);
    }
    const auto hour = std::make_unique<Histogram>();
    hour->add(3'600'000'000'000);
    CHECK(hour->total() == 1);
    CHECK(hour->max() == 3'600'000'000'000);
}

TEST_CASE("histogram: percentiles of many values are within 1 % of the sorted truth") {
    std::mt19937_64 random{7};
    std::lognormal_distribution<double> latency{10, 1.5};
    const auto histogram = std::make_unique<Histogram>();
    std::vector<std::uint64_t> values(100'000);
    for (auto& value : values) histogram->add(value = static_cast<std::uint64_t>(latency(random)));
    std::sort(values.begin(), values.end());
    for (double share : {0.01, 0.5, 0.9, 0.99, 0.999}) {
        CAPTURE(share);
        const auto rank = static_cast<std::size_t>(std::ceil(share * static_cast<double>(values.size()))) - 1;
        CHECK(is_near(histogram->percentile(share), values[rank]));
    }
    CHECK(histogram->total() == values.size());
    CHECK(histogram->max() == values.back());
}

TEST_CASE("histogram: one slow answer in a hundred is the 100th percentile, not the 99th") {
    const auto histogram = std::make_unique<Histogram>();
    for (int i = 0; i < 99; ++i) histogram->add(1000);
    histogram->add(1'000'000);
    CHECK(is_near(histogram->percentile(0.99), 1000));
    CHECK(histogram->percentile(1) == 1'000'000);
}

TEST_CASE("histogram: cleared, it has forgotten") {
    const auto histogram = std::make_unique<Histogram>();
    histogram->add(5000);
    histogram->clear();
    histogram->add(10);
    CHECK(histogram->total() == 1);
    CHECK(histogram->percentile(1) == 10);
}

}
