// SPDX-License-Identifier: Apache-2.0
#include "grpc/request.hpp"

#include <doctest/doctest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

using namespace culvert::grpc;
using namespace std::chrono_literals;

namespace {

std::string value(const std::vector<Header>& head, const std::string& name) {
    for (const Header& header : head)
        if (header.name == name) return header.value;
    return "(none)";
}

std::vector<Header> head_of(const Target& target, std::chrono::milliseconds deadline = 0ms) {
    auto head = request_head(target, *endpoint_of("https://istiod:15012"), "/a.B/C", deadline);
    REQUIRE(head.has_value());
    return *head;
}

std::string refusal(const Token& token) {
    Target target;
    target.token = token;
    auto head = request_head(target, *endpoint_of("https://istiod:15012"), "/a.B/C", 0ms);
    return head ? "" : head.error().to_string();
}

}

TEST_SUITE("grpc") {

TEST_CASE("request: says what gRPC asks for, and who we are") {
    Target target;
    target.token = TokenText{"abc"};
    target.cluster_id = "Kubernetes";
    target.headers = {{"x-more", "yes"}};
    auto head = head_of(target);
    CHECK(value(head, ":method") == "POST");
    CHECK(value(head, ":scheme") == "https");
    CHECK(value(head, ":path") == "/a.B/C");
    CHECK(value(head, ":authority") == "istiod:15012");
    CHECK(value(head, "te") == "trailers");
    CHECK(value(head, "content-type") == "application/grpc");
    CHECK(value(head, "authorization") == "Bearer abc");
    CHECK(value(head, "clusterid") == "Kubernetes");
    CHECK(value(head, "x-more") == "yes");
    CHECK(value(head, "grpc-timeout") == "(none)");
    for (const Header& header : head) CHECK(header.secret == (header.name == "authorization"));

    head = head_of({});
    CHECK(value(head, "authorization") == "(none)");
    CHECK(value(head, "clusterid") == "(none)");
    CHECK(value(head_of({}, 1500ms), "grpc-timeout") == "1500m");
    CHECK(value(head_of({}, 200'000'000ms), "grpc-timeout") == "200000S");
}

TEST_CASE("request: a token's file is read for each call") {
    const std::string file = std::filesystem::temp_directory_path() / ("token-" + std::to_string(::getpid()));
    Target target;
    target.token = TokenFile{file};
    std::ofstream{file} << "one\n";
    CHECK(value(head_of(target), "authorization") == "Bearer one");
    std::ofstream{file} << "two";
    CHECK(value(head_of(target), "authorization") == "Bearer two");
    std::ofstream{file} << "\n";
    CHECK(refusal(TokenFile{file}) == "the token in " + file + " is empty");
    std::ofstream{file} << "a\r\nx-injected: b";
    CHECK(refusal(TokenFile{file}).find("is no token: it has blanks") != std::string::npos);
    CHECK(refusal(TokenText{"caf\xc3\xa9"}).find("or is not ASCII") != std::string::npos);
    std::filesystem::remove(file);
    CHECK(refusal(TokenFile{file}).find("No such file") != std::string::npos);
    CHECK(refusal(TokenText{""}).find("is empty") != std::string::npos);
}

}
