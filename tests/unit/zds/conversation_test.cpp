// SPDX-License-Identifier: Apache-2.0
#include "zds/conversation.hpp"

#include <doctest/doctest.h>

#include "told.hpp"

using namespace culvert;
using namespace culvert::zds;

namespace {

const std::string web = "web shop/web as seller";

struct Bench {
    Told told;
    Conversation conversation{told};

    Bench() { conversation.begin(); }

    Answer hear(const std::string& message, std::vector<base::Fd> descriptors = {}) {
        return conversation.hear(message, std::move(descriptors));
    }
    Answer hear_add(const std::string& uid, base::Fd netns = a_netns()) {
        std::vector<base::Fd> one;
        one.push_back(std::move(netns));
        return hear(add(uid), std::move(one));
    }
    bool acknowledged(const Answer& answer) const { return answer.message == good && answer.fault.empty(); }
};

}

TEST_SUITE("zds") {

TEST_CASE("conversation: says hello as version 1") {
    CHECK(hello() == "\x08\x01");
}

TEST_CASE("conversation: pods are handed over with what they are called and their netns") {
    Bench bench;
    CHECK(bench.acknowledged(bench.hear_add("a")));
    CHECK(bench.told.take() == Words{"added a shop/web as seller"});
    CHECK(bench.told.netns["a"]->get() >= 0);
    CHECK_FALSE(bench.conversation.named_all());
    CHECK(bench.acknowledged(bench.hear(snapshot_sent())));
    CHECK(bench.conversation.named_all());
    CHECK(bench.told.take() == Words{"all a"});
    CHECK(bench.acknowledged(bench.hear_add("b")));
    CHECK(bench.told.take() == Words{"added b shop/web as seller"});
}

TEST_CASE("conversation: the same pod in the same netns is no news, in another it is") {
    Bench bench;
    bench.hear_add("a");
    bench.told.take();
    CHECK(bench.acknowledged(bench.hear_add("a")));
    CHECK(bench.told.take().empty());
    CHECK(bench.acknowledged(bench.hear_add("a", a_netns("/proc/self/ns/uts"))));
    CHECK(bench.told.take() == Words{"added a shop/web as seller"});
    CHECK(bench.conversation.pods() == 1);
}

TEST_CASE("conversation: who is not named leaves when all have been, and who is kept stays") {
    Bench bench;
    for (const char* uid : {"a", "b", "c"}) bench.hear_add(uid);
    bench.hear(snapshot_sent());
    bench.told.take();

    bench.conversation.begin();
    CHECK_FALSE(bench.conversation.named_all());
    bench.hear_add("a");
    CHECK(bench.acknowledged(bench.hear(keep("b"))));
    CHECK(bench.acknowledged(bench.hear(keep("never seen"))));
    CHECK(bench.told.take().empty());  // c runs on until then
    bench.hear(snapshot_sent());
    CHECK(bench.told.take() == Words{"removed c", "all a b never seen"});
}

TEST_CASE("conversation: a pod is deleted once, however often it is said") {
    Bench bench;
    bench.hear_add("a");
    bench.hear(snapshot_sent());
    bench.told.take();
    CHECK(bench.acknowledged(bench.hear(del("a"))));
    CHECK(bench.told.take() == Words{"removed a"});
    CHECK(bench.acknowledged(bench.hear(del("a"))));
    CHECK(bench.acknowledged(bench.hear(del("nobody"))));
    CHECK(bench.told.take().empty());
}

TEST_CASE("conversation: a pod that is deleted before all are named leaves with the rest") {
    Bench bench;
    bench.hear_add("a");
    bench.hear(snapshot_sent());
    bench.conversation.begin();
    bench.hear_add("a");
    bench.told.take();
    CHECK(bench.acknowledged(bench.hear(del("a"))));
    CHECK(bench.told.take().empty());
    bench.hear(snapshot_sent());
    CHECK(bench.told.take() == Words{"removed a", "all"});
}

TEST_CASE("conversation: a pod that could not be added is refused with the reason, and tried again") {
    Bench bench;
    bench.told.refuses["a"] = "port 15008 is taken";
    auto answer = bench.hear_add("a");
    CHECK(error_in(answer.message) == "failure to start proxy : port 15008 is taken");
    CHECK(answer.fault.empty());
    bench.hear(snapshot_sent());
    CHECK(bench.conversation.pending() == 1);
    bench.told.take();

    bench.conversation.retry();
    CHECK(bench.told.take() == Words{"added a shop/web as seller"});
    CHECK(bench.conversation.pending() == 1);
    bench.told.refuses.clear();
    bench.conversation.retry();
    CHECK(bench.conversation.pending() == 0);
    bench.told.take();
    bench.conversation.retry();
    CHECK(bench.told.take().empty());
}

TEST_CASE(
    "conversation: a pod that could not be added is tried again when the agent says it again, and forgotten when "
    "it is deleted") {
    Bench bench;
    bench.told.refuses["a"] = "no";
    bench.hear_add("a");
    bench.told.take();
    CHECK(error_in(bench.hear_add("a").message) == "failure to start proxy : no");
    CHECK(bench.told.take() == Words{"added a shop/web as seller"});
    CHECK(bench.acknowledged(bench.hear(del("a"))));
    CHECK(bench.told.take() == Words{"removed a"});
    CHECK(bench.conversation.pending() == 0);
}

TEST_CASE("conversation: what has no place is answered and ends the connection") {
    Bench bench;
    bench.hear_add("a");
    bench.hear(snapshot_sent());
    bench.told.take();
    auto misplaced = [&](const std::string& message, std::vector<base::Fd> descriptors = {}) {
        auto answer = bench.hear(message, std::move(descriptors));
        CHECK_FALSE(answer.fault.empty());
        CHECK(error_in(answer.message) == answer.fault);
        return answer.fault;
    };
    CHECK(misplaced(keep("a")) == "failure to process message : pod keep received after snapshot");
    CHECK(misplaced(snapshot_sent()) == "failure to process message : pod snapshot received already");
    CHECK(misplaced(add("b")) == "failure to read message : Expected 1 FD, got 0");
    std::vector<base::Fd> two;
    two.push_back(a_netns());
    two.push_back(a_netns());
    CHECK(misplaced(add("b"), std::move(two)) == "failure to read message : Expected 1 FD, got 2");
    std::vector<base::Fd> one;
    one.push_back(a_netns());
    CHECK(misplaced(std::string{"\x0a\x03\x0a\x01"} + "b", std::move(one)) ==
          "failure to process message : workload_info is required but not present");
    CHECK(misplaced("\xff\xff junk") == "failure to read message : it is no WorkloadRequest");
    CHECK(misplaced("") == "failure to read message : it says nothing known");
    CHECK(bench.told.take().empty());
    CHECK(bench.conversation.pods() == 1);
}

TEST_CASE("conversation: an answer fits the agent's buffer, and is text") {
    Bench bench;
    bench.told.refuses["a"] = std::string(5000, 'x') + "\xff";
    auto answer = bench.hear_add("a");
    CHECK(answer.message.size() <= 1024);
    bench.told.refuses["b"] = "caf\xc3\xa9 \xff\n";
    CHECK(error_in(bench.hear_add("b").message) == "failure to start proxy : caf?? ??");
}

}
