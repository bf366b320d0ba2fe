// SPDX-License-Identifier: Apache-2.0
#include "outcome.hpp"

#include <doctest/doctest.h>

#include <atomic>
#include <cstdio>

#include "node.hpp"

namespace culvert::test {
namespace {

std::atomic<bool> failed{false};
std::string case_description;

// Hears of every case: keeps what families() says, and after a failure says where to look while the lab still stands.
class Listener : public doctest::IReporter {
public:
    explicit Listener(const doctest::ContextOptions&) {}

    void test_case_start(const doctest::TestCaseData& test) override {
        case_description = test.m_description ? test.m_description : "";
    }
    void test_case_end(const doctest::CurrentTestCaseStats& stats) override {
        if (stats.failure_flags == 0) return;
        failed = true;
        for (const Node* node : Node::all()) std::fputs(node->where_to_look().c_str(), stderr);
    }

    void report_query(const doctest::QueryData&) override {}
    void test_run_start() override {}
    void test_run_end(const doctest::TestRunStats&) override {}
    void test_case_reenter(const doctest::TestCaseData&) override {}
    void test_case_exception(const doctest::TestCaseException&) override {}
    void subcase_start(const doctest::SubcaseSignature&) override {}
    void subcase_end() override {}
    void log_assert(const doctest::AssertData&) override {}
    void log_message(const doctest::MessageData&) override {}
    void test_case_skipped(const doctest::TestCaseData&) override {}
};

REGISTER_LISTENER("outcome", 1, Listener);

}

bool anything_failed() {
    return failed;
}

void note_failure(const std::string& what) {
    failed = true;
    std::fprintf(stderr, "\nFAILED: %s\n", what.c_str());
}

const std::vector<std::string>& capture_modes() {
    static const std::vector<std::string> modes{"ebpf"};
    return modes;
}

const std::string& capture_mode() {
    return capture_modes().front();
}

std::vector<Family> families() {
    std::vector<Family> all;
    if (case_description.find("IPv4") != std::string::npos) all.push_back(Family::v4);
    if (case_description.find("IPv6") != std::string::npos) all.push_back(Family::v6);
    return all;
}

}
