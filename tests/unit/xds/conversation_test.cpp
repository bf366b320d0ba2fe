// SPDX-License-Identifier: Apache-2.0
#include <culvert/xds/conversation.hpp>

#include <doctest/doctest.h>

#include <culvert/xds/store.hpp>

#include "say.hpp"

using namespace culvert;
using xds::Conversation;
using xds::Interest;
using State = xds::Question::State;

namespace {

struct Talk {
    explicit Talk(Interest interest = Interest::everything, xds::Limits limits = {})
        : conversation{{"node", {{"NAME", "z"}}}, interest, limits} {}

    xds::Heard hear(const say::Response& response) {
        auto heard = conversation.hear(say::bytes(response));
        REQUIRE(heard.has_value());
        store.take(heard->kind, heard->changed, heard->removed);
        return std::move(*heard);
    }
    std::string refusal(const say::Response& response) {
        return say::request(hear(response).request).error_detail().message();
    }
    std::map<std::string, std::string> versions(std::size_t kind) {
        auto request = say::request(conversation.begin().at(kind));
        return {request.initial_resource_versions().begin(), request.initial_resource_versions().end()};
    }

    Conversation conversation;
    xds::Store store;
};

}

TEST_SUITE("xds") {

TEST_CASE("conversation: istiod is told of metadata as text and as JSON, and JSON wins") {
    Conversation conversation{{.id = "node",
                               .metadata = {{"NAME", "z"}, {"LABELS", "text"}},
                               .structured = {{"LABELS", R"({"app": "z", "on": [1.5, true, null, "a"]})"}}}};
    for (const std::string& request : conversation.begin()) {
        auto fields = say::request(request).node().metadata().fields();
        REQUIRE(fields.size() == 2);
        CHECK(fields["NAME"].string_value() == "z");
        auto labels = fields["LABELS"].struct_value().fields();
        CHECK(labels["app"].string_value() == "z");
        const auto& on = labels["on"].list_value();
        REQUIRE(on.values_size() == 4);
        CHECK(on.values(0).number_value() == 1.5);
        CHECK(on.values(1).bool_value());
        CHECK(on.values(2).kind_case() == culvert::wire::Value::kNullValue);
        CHECK(on.values(3).string_value() == "a");
    }
}

TEST_CASE("conversation: a policy that cannot be read any more stays as it was, with its version") {
    Talk talk;
    auto first = say::policies();
    say::add(first, say::policy("p", 80), "one");
    CHECK(talk.refusal(first) == "");
    auto good = talk.store.policies();

    auto broken = say::policy("p", 81);
    broken.mutable_rules(0)->mutable_clauses(0)->mutable_matches(0)->add_source_ips()->set_address("12345");
    auto second = say::policies("n2");
    say::add(second, broken, "two");
    say::add(second, say::policy("q"), "two");
    auto heard = talk.hear(second);
    CHECK(say::request(heard.request).response_nonce() == "n2");
    CHECK(say::request(heard.request).error_detail().message() ==
          "ns/p: rules[0].clauses[0].matches[0].source_ips[0] is no address range: 5 bytes, a length of 0");
    REQUIRE(talk.store.policies().size() == 2);
    CHECK(talk.store.policies()[0] == good[0]);
    CHECK(talk.versions(1) == std::map<std::string, std::string>{{"ns/p", "one"}, {"ns/q", "two"}});

    auto third = say::policies("n3");
    third.add_removed_resources("ns/p");
    talk.hear(third);
    CHECK(talk.store.policies().size() == 1);
}

TEST_CASE("conversation: what is no response, or cannot be answered, ends the stream and changes nothing") {
    xds::Limits limits;
    limits.response_bytes = 1000;
    Talk talk{Interest::everything, limits};
    auto response = say::addresses();
    say::add(response, say::workload("w"));
    talk.hear(response);

    CHECK(!talk.conversation.hear("\xff\xff").has_value());
    auto silent = response;
    silent.clear_nonce();
    silent.add_removed_resources("w");
    CHECK(!talk.conversation.hear(say::bytes(silent)).has_value());
    auto large = say::addresses();
    say::add(large, "x", std::string(2000, 'x'), "v");
    CHECK(!talk.conversation.hear(say::bytes(large)).has_value());
    CHECK(talk.conversation.held(xds::Kind::address) == 1);
}

TEST_CASE("conversation: a resource is what the response says it is, or refused") {
    Talk talk;
    auto misnamed = say::addresses();
    say::add(misnamed, "other", say::bytes(say::workload("w")), "v");
    CHECK(talk.refusal(misnamed) == "other: it calls itself w");
    auto empty = say::addresses();
    empty.add_resources()->set_name("w");
    CHECK(talk.refusal(empty) == "w: it comes without a value");
    auto foreign = say::addresses();
    say::add(foreign, say::workload("w"))->mutable_resource()->set_type_url("t");
    CHECK(talk.refusal(foreign) == std::string{"w: it is a t, among resources of "} + say::address_type);
    CHECK(talk.conversation.held(xds::Kind::address) == 0);
}

TEST_CASE("conversation: names that were never told of may be removed, and the same name may come twice") {
    Talk talk;
    auto response = say::addresses();
    say::add(response, say::workload("w", "\x0a\x01\x01\x01"), "one");
    say::add(response, say::workload("w", "\x0a\x01\x01\x02"), "two");
    response.add_removed_resources("never/seen");
    auto heard = talk.hear(response);
    CHECK(heard.removed.empty());
    CHECK(talk.versions(0) == std::map<std::string, std::string>{{"w", "two"}});
    CHECK(talk.store.mesh()->workload_by_uid("w")->ips[0].to_string() == "10.1.1.2");
}

TEST_CASE("conversation: more resources than the limit are refused, those that are held may still change") {
    xds::Limits limits;
    limits.resources = 1;
    Talk talk{Interest::everything, limits};
    auto response = say::addresses();
    say::add(response, say::workload("a"), "1");
    say::add(response, say::workload("b"), "1");
    say::add(response, say::workload("a"), "2");
    CHECK(talk.refusal(response) == "b: more than 1 Address resources");
    CHECK(talk.versions(0) == std::map<std::string, std::string>{{"a", "2"}});
}

TEST_CASE("conversation: however much is refused, the reason is short and whole") {
    Talk talk;
    auto response = say::addresses();
    std::string name(255, 'x');  // the character of two bytes lies across the place where names are cut
    for (int i = 0; i < 1000; ++i) say::add(response, name + "\xc3\xa4" + std::to_string(i), "\xff", "v");
    auto text = talk.refusal(response);
    CHECK(text.size() > 4000);
    CHECK(text.size() < 5000);
    CHECK(text.starts_with(name + ": its bytes are no"));
    CHECK(text.find(" more", text.size() - 10) != text.npos);
}

TEST_CASE("conversation: on demand, a question lives until it is answered, given up, or asked on the next stream") {
    xds::Limits limits;
    limits.questions = 2;
    Talk talk{Interest::on_demand, limits};
    CHECK(talk.conversation.begin().size() == 2);
    CHECK(talk.conversation.ask("/10.1.2.3").state == State::sent);
    CHECK(talk.conversation.ask("ns/host").state == State::sent);
    CHECK(talk.conversation.ask("third").state == State::refused);

    auto first = talk.conversation.begin();
    REQUIRE(first.size() == 3);
    auto again = say::request(first[2]);
    CHECK(again.type_url() == say::address_type);
    CHECK(again.resource_names_subscribe_size() == 2);
    CHECK(again.node().id().empty());

    auto taken_back = talk.conversation.give_up("ns/host");
    REQUIRE(taken_back);
    CHECK(say::request(*taken_back).resource_names_unsubscribe(0) == "ns/host");
    CHECK(!talk.conversation.give_up("ns/host"));

    auto answer = say::addresses();
    say::add(answer, say::workload("w"))->add_aliases("/10.1.2.3");
    auto heard = talk.hear(answer);
    REQUIRE(heard.answers.size() == 1);
    CHECK(heard.answers[0].name == "/10.1.2.3");
    CHECK(heard.answers[0].found);
    CHECK(talk.conversation.ask("w").state == State::held);
    CHECK(talk.conversation.begin().size() == 2);
}

TEST_CASE("conversation: on demand, what was answered is unsubscribed, or istiod would not answer again") {
    Talk talk{Interest::on_demand};
    CHECK_FALSE(talk.conversation.ready());
    for (const char* name : {"/10.1.2.3", "/8.8.8.8", "w"}) talk.conversation.ask(name);
    CHECK_FALSE(talk.conversation.settle("/8.8.8.8"));  // not answered yet
    auto answer = say::addresses();
    say::add(answer, say::workload("w"))->add_aliases("/10.1.2.3");
    answer.add_removed_resources("/8.8.8.8");
    CHECK(talk.hear(answer).answers.size() == 3);
    CHECK_FALSE(talk.conversation.settle("w"));
    for (const char* name : {"/10.1.2.3", "/8.8.8.8"}) {
        auto settled = talk.conversation.settle(name);
        REQUIRE(settled);
        CHECK(say::request(*settled).resource_names_unsubscribe(0) == name);
        CHECK(talk.conversation.ask(name).state == State::sent);
    }
    CHECK_FALSE(talk.conversation.ready());
    talk.hear(say::policies());
    CHECK(talk.conversation.ready());
}

TEST_CASE("conversation: on demand, a node without pods may be told nothing of addresses, and is ready") {
    Talk talk{Interest::on_demand};
    talk.hear(say::policies());
    CHECK(talk.conversation.ready());
}

TEST_CASE("conversation: on demand, what cannot be read is an answer too") {
    Talk talk{Interest::on_demand};
    talk.conversation.ask("w");
    auto answer = say::addresses();
    say::add(answer, "w", "\xff", "v");
    auto heard = talk.hear(answer);
    REQUIRE(heard.answers.size() == 1);
    CHECK(!heard.answers[0].found);
    CHECK(talk.conversation.ask("w").state == State::sent);
}

TEST_CASE("conversation: on demand, every stream asks for nothing first, with versions or without") {
    Talk talk{Interest::on_demand};
    auto told = say::addresses();
    say::add(told, say::workload("w"), "v");
    for (int stream = 0; stream < 2; ++stream) {
        auto first = say::request(talk.conversation.begin().at(0));
        REQUIRE(first.resource_names_subscribe_size() == 1);
        REQUIRE(first.resource_names_unsubscribe_size() == 1);
        CHECK(first.resource_names_subscribe(0) == "*");
        CHECK(first.resource_names_unsubscribe(0) == "*");
        auto policies = say::request(talk.conversation.begin().at(1));
        CHECK(policies.resource_names_subscribe_size() == 0);
        talk.hear(told);
    }
    Talk all;
    CHECK(all.conversation.ask("w").state == State::held);
}

}
