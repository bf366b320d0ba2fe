// SPDX-License-Identifier: Apache-2.0
// What an unmodified agent said to a client that acknowledged everything, to one that refused pods, and to one that
// was silent.
#include <fstream>

#include <doctest/doctest.h>

#include "told.hpp"
#include "zds/conversation.hpp"

using namespace culvert;
using namespace culvert::zds;

namespace {

struct Line {
    bool ours;
    bool with_netns;
    std::string bytes;
};

std::vector<Line> recorded(const std::string& name) {
    std::vector<Line> lines;
    std::ifstream file{std::string{RECORDED} + "/" + name + ".jsonl"};
    for (std::string text; std::getline(file, text);) {
        auto at = text.find("\"hex\": \"");
        if (at == std::string::npos) continue;  // an end of the connection
        at += 8;
        Line line{text.find("\"c2s\"") != std::string::npos, text.find("\"inode\"") != std::string::npos, ""};
        for (; text[at] != '"'; at += 2) line.bytes += static_cast<char>(std::stoi(text.substr(at, 2), nullptr, 16));
        lines.push_back(std::move(line));
    }
    REQUIRE(lines.size() >= 2);
    return lines;
}

// Our answers beside the recorded ones.
struct Replayed {
    std::vector<std::string> ours, recorded;
};

Replayed replay(const std::string& name, Told& told) {
    Replayed answers;
    Conversation conversation{told};
    auto lines = recorded(name);
    for (const Line& line : lines) {
        if (line.ours && answers.recorded.empty()) {
            CHECK(line.bytes == hello());
            answers.recorded.push_back(line.bytes);
            answers.ours.push_back(hello());
        } else if (line.ours) {
            answers.recorded.push_back(line.bytes);
        } else {
            std::vector<base::Fd> descriptors;
            if (line.with_netns) descriptors.push_back(a_netns());
            auto answer = conversation.hear(line.bytes, std::move(descriptors));
            CHECK(answer.fault == "");
            answers.ours.push_back(answer.message);
        }
    }
    return answers;
}

}

TEST_SUITE("zds") {

TEST_CASE("replay: byte for byte what a client answered that takes everything") {
    Told told;
    auto answers = replay("acknowledged", told);
    CHECK(answers.ours == answers.recorded);
    CHECK(told.take() == Words{"added c89406a3-f25e-42a6-a67a-77323e3274d4 ambient-demo/app1 as httpbin-sa",
                               "added da0285d6-478d-4e32-8ccf-4f53a86193fd ambient-demo/app2 as default",
                               "all 93ea78b2-fd00-42cb-affa-78933a4be5bc c89406a3-f25e-42a6-a67a-77323e3274d4 "
                               "da0285d6-478d-4e32-8ccf-4f53a86193fd e4630c7c-81c5-4348-90fd-a51288b20cd4",
                               "added 1cd4bfe9-7a91-4235-afff-b4c236b0c087 ambient-demo/app3 as default",
                               "removed 1cd4bfe9-7a91-4235-afff-b4c236b0c087"});
}

TEST_CASE("replay: a pod that is refused is refused to the agent in the same form") {
    Told told;
    for (const char* uid : {"da0285d6-478d-4e32-8ccf-4f53a86193fd", "c89406a3-f25e-42a6-a67a-77323e3274d4",
                            "4ec8a9df-8a54-4142-881d-faf78213b221"})
        told.refuses[uid] = "test nack";
    auto answers = replay("refused", told);
    REQUIRE(answers.ours.size() == answers.recorded.size());
    for (std::size_t i = 1; i < answers.ours.size(); ++i) {
        std::string recorded = error_in(answers.recorded[i]);
        CHECK(error_in(answers.ours[i]) == (recorded.empty() ? "" : "failure to start proxy : " + recorded));
    }
}

TEST_CASE("replay: a pod that comes first on a connection") {
    Told told;
    auto answers = replay("unanswered", told);
    CHECK(answers.ours == Words{hello(), good});
}

}
