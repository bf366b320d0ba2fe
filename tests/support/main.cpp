// SPDX-License-Identifier: Apache-2.0
// The suite's main: doctest's own options, and `--matrix`, which lists case | capture | family. Exit 77: skipped.
#define DOCTEST_CONFIG_IMPLEMENT
#include <doctest/doctest.h>

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <string_view>
#include <vector>

#include "janitor.hpp"
#include "outcome.hpp"
#include "reasons.hpp"
#include "world.hpp"

namespace {

using namespace culvert::test;

// doctest hands its list of cases to a reporter; this one prints a row for each capture mode and family.
class MatrixReporter : public doctest::IReporter {
public:
    explicit MatrixReporter(const doctest::ContextOptions&) {}
    void report_query(const doctest::QueryData& query) override {
        for (unsigned i = 0; i < query.num_data; ++i) {
            const doctest::TestCaseData& test = *query.data[i];
            for (const std::string& capture : capture_modes())
                for (const char* family : {"IPv4", "IPv6"})
                    if (test.m_description != nullptr && std::strstr(test.m_description, family) != nullptr)
                        std::printf("%s | %s | %s\n", test.m_name, capture.c_str(), family);
        }
    }
    void test_run_start() override {}
    void test_run_end(const doctest::TestRunStats&) override {}
    void test_case_start(const doctest::TestCaseData&) override {}
    void test_case_reenter(const doctest::TestCaseData&) override {}
    void test_case_end(const doctest::CurrentTestCaseStats&) override {}
    void test_case_exception(const doctest::TestCaseException&) override {}
    void subcase_start(const doctest::SubcaseSignature&) override {}
    void subcase_end() override {}
    void log_assert(const doctest::AssertData&) override {}
    void log_message(const doctest::MessageData&) override {}
    void test_case_skipped(const doctest::TestCaseData&) override {}
};

REGISTER_REPORTER("matrix", 1, MatrixReporter);

}

int main(int argc, char** argv) {
    std::vector<const char*> arguments{argv, argv + argc};
    const auto matrix = std::ranges::find(arguments, std::string_view{"--matrix"});
    const bool list = matrix != arguments.end();
    if (list) {
        *matrix = "--list-test-cases";
        arguments.push_back("--reporters=matrix");
    }
    doctest::Context context(static_cast<int>(arguments.size()), arguments.data());
    if (list) return context.run();
    if (::geteuid() != 0) {
        std::puts("skipped: network namespaces need root");
        return 77;
    }
    janitor::hire();
    const int status = context.run();
    World::end_shared();
    reasons::save();
    return anything_failed() ? 1 : status;
}
