// SPDX-License-Identifier: Apache-2.0
#include "outcome.hpp"

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <sstream>
#include <utility>

#include "node.hpp"
#include "silent_reporter.hpp"

namespace culvert::test {
namespace {

std::atomic<bool> failed{false};
std::atomic<bool> case_failed{false};
std::string case_description;

using Place = std::pair<std::string, unsigned>;  // file and line

// Filled while cases register themselves, before main.
std::map<Place, OnlyIn>& limited() {
    static std::map<Place, OnlyIn> all;
    return all;
}

std::vector<std::string> words(const std::string& text) {
    std::istringstream stream{text};
    std::vector<std::string> all;
    for (std::string word; stream >> word;) all.push_back(word);
    return all;
}

// Hears of every case: keeps what families() says, and after a failure says where to look while the lab still stands.
class Listener : public SilentReporter {
public:
    using SilentReporter::SilentReporter;

    void test_case_start(const doctest::TestCaseData& test) override {
        case_description = test.m_description ? test.m_description : "";
        case_failed = false;
    }
    void log_assert(const doctest::AssertData& check) override {
        if (check.m_failed) case_failed = true;
    }
    void test_case_end(const doctest::CurrentTestCaseStats& stats) override {
        if (stats.failure_flags == 0) return;
        failed = true;
        for (const Node* node : Node::all()) std::fputs(node->where_to_look().c_str(), stderr);
    }
};

REGISTER_LISTENER("outcome", 1, Listener);

// doctest hands its list of cases to a reporter.
class MatrixReporter : public SilentReporter {
public:
    using SilentReporter::SilentReporter;

    void report_query(const doctest::QueryData& query) override {
        for (unsigned i = 0; i < query.num_data; ++i)
            for (const std::string& capture : capture_modes()) print(*query.data[i], capture);
    }

private:
    static void print(const doctest::TestCaseData& test, const std::string& capture) {
        const auto limit = limited().find({test.m_file.c_str(), test.m_line});
        const bool runs = limit == limited().end() || limit->second.capture == capture;
        for (const std::string& family : words(test.m_description ? test.m_description : ""))
            std::printf("%s | %s | %s%s\n", test.m_name, capture.c_str(), family.c_str(),
                        runs ? "" : (" | no: " + limit->second.why).c_str());
    }
};

REGISTER_REPORTER(matrix_reporter, 1, MatrixReporter);

}

bool this_case_failed() {
    return case_failed;
}

bool anything_failed() {
    return failed;
}

void note_failure(const std::string& what) {
    failed = true;
    std::fprintf(stderr, "\nFAILED: %s\n", what.c_str());
}

const std::vector<std::string>& capture_modes() {
    static const std::vector<std::string> modes = words(CULVERT_CAPTURES);
    return modes;
}

const std::string& capture_mode() {
    const char* asked = std::getenv("CULVERT_CAPTURE");
    static const std::string mode = asked != nullptr && *asked != '\0' ? asked : capture_modes().front();
    return mode;
}

void OnlyIn::fill(doctest::detail::TestCase& test) const {
    limited().insert_or_assign(Place{test.m_file.c_str(), test.m_line}, *this);
    if (capture != capture_mode()) test.m_skip = true;
}

std::vector<Family> families() {
    std::vector<Family> all;
    if (case_description.find("IPv4") != std::string::npos) all.push_back(Family::v4);
    if (case_description.find("IPv6") != std::string::npos) all.push_back(Family::v6);
    return all;
}

}
