// SPDX-License-Identifier: Apache-2.0
// A real istiod's conversation, replayed: after each step we hold what the real ztunnel held. Where we do not,
// recorded/ differences.txt says why; what it says in vain fails.
#include <doctest/doctest.h>

#include <fnmatch.h>

#include <algorithm>
#include <sstream>

#include "mesh_form.hpp"
#include "recorded.hpp"

using namespace culvert;

namespace {

struct Excuse {
    std::string step, path, reason;
    bool used = false;
};

// "<steps> <path>: <reason>", both with * for anything.
std::vector<Excuse> excuses() {
    std::vector<Excuse> all;
    std::istringstream lines{recorded::file("differences.txt")};
    for (std::string line; std::getline(lines, line);) {
        if (line.empty() || line.front() == '#') continue;
        Excuse excuse;
        std::istringstream words{line};
        words >> excuse.step >> excuse.path;
        std::getline(words >> std::ws, excuse.reason);
        REQUIRE_MESSAGE((excuse.path.ends_with(':') && !excuse.reason.empty()), line);
        excuse.path.pop_back();
        all.push_back(std::move(excuse));
    }
    return all;
}

bool excused(std::vector<Excuse>& all, const std::string& step, const std::string& path) {
    bool any = false;
    for (Excuse& excuse : all)
        if (::fnmatch(excuse.step.c_str(), step.c_str(), 0) == 0 &&
            ::fnmatch(excuse.path.c_str(), path.c_str(), 0) == 0)
            any = excuse.used = true;
    return any;
}

// The recorded answer to that response.
const recorded::Request* answer_in(const recorded::Step& step, const std::string& nonce) {
    auto found = std::find_if(step.requests.begin(), step.requests.end(),
                              [&](const auto& request) { return request.response_nonce() == nonce; });
    return found == step.requests.end() ? nullptr : &*found;
}

void replay(const recorded::Step& step, xds::Conversation& conversation, xds::Store& store) {
    for (const std::string& bytes : step.responses) {
        auto heard = conversation.hear(bytes);
        REQUIRE(heard.has_value());
        CHECK(heard->refused.empty());
        const auto* theirs = answer_in(step, recorded::response(bytes).nonce());
        REQUIRE(theirs);
        CHECK(recorded::meaning(recorded::request(heard->request)) == recorded::meaning(*theirs));
        store.take(heard->kind, std::move(heard->changed), heard->removed);
    }
}

}

TEST_SUITE("xds") {

TEST_CASE("replay: after each step of istiod's we hold what the real ztunnel held, and answered what it answered") {
    xds::Conversation conversation{{"ztunnel~1.2.3.4~z.istio-system~istio-system.svc.cluster.local", {}}};
    xds::Store store;
    auto known = excuses();
    std::size_t compared = 0;
    for (const recorded::Step& step : recorded::steps_before("90")) {
        CAPTURE(step.name);
        replay(step, conversation, store);
        if (step.dump.empty()) continue;
        ++compared;
        for (const auto& difference : mesh_form::compare(mesh_form::of(store), mesh_form::of_dump(step.dump))) {
            CAPTURE(difference.path);
            CAPTURE(difference.ours);
            CAPTURE(difference.theirs);
            CHECK(excused(known, step.name, difference.path));
        }
    }
    CHECK(compared == 50);
    for (const Excuse& excuse : known) {
        CAPTURE(excuse.path);
        CHECK_MESSAGE(excuse.used, "differences.txt names what does not differ (any more)");
    }
}

}
