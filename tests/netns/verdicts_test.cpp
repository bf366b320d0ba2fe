// SPDX-License-Identifier: Apache-2.0
// Every reason of the kernel side was seen at least once in this run, or says here why it cannot be.
// doctest goes by file name: this one is the last.
#include <doctest/doctest.h>

#include <cstdio>
#include <map>
#include <string>

#include <culvert/bpf/reasons.h>

#include "outcome.hpp"
#include "reasons.hpp"

using namespace culvert::test;

namespace {

const std::map<std::string, std::string> never_here{
    {"CONNECT_NO_STORAGE", "needs a kernel that is out of memory in the middle of a connect"},
    {"CONNECT_MARK_FAILED", "no kernel that has sockops refuses SO_MARK there; counted in case one does"},
    {"DROP_ASSIGN_FAILED",
     "the kernel refuses only listeners of the wrong protocol or family, which never get into the map"},
};

}

TEST_SUITE("verdicts") {

TEST_CASE("verdict: each reason was counted by some case of the run" IPV4 EBPF_ONLY(
    "the reasons are the programs' own; rules count nothing but packets")) {
    const auto table = reasons::table();
    const struct {
        const char* name;
        const char* text;
    } all[] = {
#define X(name, text) {#name, text},
        CV_REASONS(X)
#undef X
    };
    std::printf("\n%-22s %12s\n", "cv_reason", "count");
    for (const auto& reason : all) {
        const auto found = table.find(reason.name);
        const auto count = found == table.end() ? 0 : found->second;
        const auto excuse = never_here.find(reason.name);
        std::printf("%-22s %12lu  %s\n", reason.name, static_cast<unsigned long>(count),
                    count == 0 && excuse != never_here.end() ? excuse->second.c_str() : reason.text);
        CAPTURE(reason.name);
        CHECK((count > 0 || excuse != never_here.end()));
    }
}

}
