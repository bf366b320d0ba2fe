// SPDX-License-Identifier: Apache-2.0
#include <culvert/tls/certificates.hpp>

#include <boost/asio/io_context.hpp>

#include <doctest/doctest.h>

#include <fstream>

#include "fixtures.hpp"

using namespace fixtures;
using namespace std::chrono_literals;
using culvert::tls::Authority;
using culvert::tls::CertificateManager;

namespace {

using Steady = std::chrono::steady_clock;

// A manager whose publications are kept, and the loop that it lives on.
struct Node {
    explicit Node(std::chrono::milliseconds ttl, std::unique_ptr<Authority> with = nullptr)
        : authority{with ? std::move(with) : *Authority::keep(folder.path, "cluster.local")},
          manager{io, *authority, ttl, [this](tls::CredentialsMapPtr map) { published.push_back(std::move(map)); }} {}

    // Until so many maps were published, or the time is over.
    bool wait_for(std::size_t count, std::chrono::milliseconds limit) {
        auto end = Steady::now() + limit;
        while (published.size() < count && Steady::now() < end) io.run_one_until(end);
        return published.size() >= count;
    }
    std::map<Identity, tls::CredentialsPtr> last() const {
        std::map<Identity, tls::CredentialsPtr> all;
        for (const auto& [identity, standing] : *published.back()) all[identity] = standing.current;
        return all;
    }

    Folder folder;
    std::unique_ptr<Authority> authority;
    boost::asio::io_context io;
    std::vector<tls::CredentialsMapPtr> published;
    CertificateManager manager;
};

// An authority whose root has only so long to live.
std::unique_ptr<Authority> dying(const Folder& folder, std::chrono::seconds left) {
    auto now = std::chrono::system_clock::now();
    auto key = *tls::make_p256_key();
    auto root = *tls::blank_certificate(*key, now - 1h, now + left);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(root.get()), "O", MBSTRING_ASC,
                               reinterpret_cast<const unsigned char*>("brief"), -1, -1, 0);
    X509_set_issuer_name(root.get(), X509_get_subject_name(root.get()));
    tls::add_basic_constraints(*root, true);
    tls::add_key_usage(*root, {tls::sign_certificates});
    tls::sign(*root, *key);
    std::ofstream{folder.path + "/c"} << *tls::to_pem(*root);
    std::ofstream{folder.path + "/k"} << *tls::to_pem(*key);
    return *Authority::load(folder.path + "/c", folder.path + "/k");
}

}

TEST_SUITE("tls") {
TEST_CASE("certificates: an identity has one as soon as it is added") {
    Node node{24h};
    node.manager.add(alice);
    REQUIRE(node.published.size() == 1);
    node.manager.add(bob);
    REQUIRE(node.published.size() == 2);
    CHECK(node.last().size() == 2);
    CHECK(node.published.front()->size() == 1);  // what was published does not change
    auto p = pair(node.last().at(alice), node.last().at(bob), {bob.to_string()});
    p.shake();
    CHECK(p.server_done);

    auto stats = node.manager.stats();
    REQUIRE(stats.size() == 2);
    CHECK(stats[0].identity == alice);
    CHECK(stats[0].serial == node.last().at(alice)->serial);
    CHECK(stats[0].renewals == 0);
    auto left = stats[0].not_after - std::chrono::system_clock::now();
    CHECK(left > 24h - 5s);
    CHECK(left <= 24h);
}

TEST_CASE("certificates: pods that share an identity share its certificate until the last one leaves") {
    Node node{24h};
    node.manager.add(alice);
    node.manager.add(alice);
    CHECK(node.published.size() == 1);
    node.manager.remove(alice);
    CHECK(node.published.size() == 1);
    CHECK(node.last().count(alice) == 1);
    node.manager.remove(alice);
    REQUIRE(node.published.size() == 2);
    CHECK(node.last().empty());
    node.manager.remove(alice);  // nothing left to remove
    CHECK(node.published.size() == 2);
    CHECK(node.manager.stats().empty());
    CHECK(node.io.run_for(10ms) == 1);  // the cancelled timer; nothing waits any more
}

TEST_CASE("certificates: renewed at half life, again and again, and what is connected goes on") {
    Node node{3s};
    node.manager.add(alice);
    node.manager.add(bob);
    auto begin = Steady::now();
    auto first = node.last();
    auto p = pair(first.at(alice), first.at(bob), {bob.to_string()});
    p.shake();
    REQUIRE(p.server_done);

    REQUIRE(node.wait_for(3, 3s));
    CHECK(Steady::now() - begin >= 950ms);  // whole seconds: between 2 and 3 s of life were left
    CHECK(first.at(alice)->not_after - std::chrono::system_clock::now() >= 300ms);
    REQUIRE(node.wait_for(4, 5s));
    CHECK(node.last().at(alice)->serial != first.at(alice)->serial);
    CHECK(node.last().at(bob)->serial != first.at(bob)->serial);
    for (const auto& one : node.manager.stats()) {
        CHECK(one.renewals >= 1);
        CHECK(one.failures == 0);
        CHECK(one.not_after > std::chrono::system_clock::now());
    }

    // Now the certificates of the connection have expired; it goes on, and new ones use the new.
    auto until = first.at(alice)->not_after + 1s;
    while (std::chrono::system_clock::now() < until) node.io.run_one_for(50ms);
    p.client.write_to(p.to_server);
    p.server.write_to(p.to_client);
    auto sent = noise(100000, 5);
    REQUIRE(p.client.seal(sent).has_value());
    CHECK((open_all(p.server, p.to_server).plaintext == sent));
    auto stale = pair(first.at(alice), first.at(bob), {bob.to_string()});
    stale.shake();
    CHECK(stale.client_error == "tls handshake error: certificate verify failed: certificate has expired");
    auto fresh = pair(node.last().at(alice), node.last().at(bob), {bob.to_string()});
    fresh.shake();
    CHECK(fresh.client_error == "");
    CHECK(fresh.server_done);
}

TEST_CASE("certificates: when the root ends, renewals fail, are counted, said and tried again ever later") {
    Folder folder;
    Node node{4s, dying(folder, 2s)};
    node.manager.add(alice);
    auto end = Steady::now() + 6s;
    while (Steady::now() < end) node.io.run_one_until(end);
    auto stats = node.manager.stats();
    REQUIRE(stats.size() == 1);
    CHECK(stats[0].failures >= 2);
    CHECK(stats[0].failures <= 3);  // after 1 and 2 more seconds
    CHECK(stats[0].renewals >= 1);
    CHECK(stats[0].renewals <= 6);  // the shortening lives do not make it spin
    CHECK(stats[0].last_failure.find("the root expired at") != std::string::npos);
    CHECK(node.last().count(alice) == 1);  // the last one stays published
    node.manager.add(bob);
    CHECK(node.last().at(bob) == nullptr);
    CHECK(node.manager.stats()[1].state.starts_with("Unavailable: the root expired at"));
}

TEST_CASE("certificates: nothing happens after the end of the manager") {
    Folder folder;
    auto authority = *Authority::keep(folder.path, "cluster.local");
    boost::asio::io_context io;
    int published = 0;
    {
        CertificateManager manager{io, *authority, 1s, [&](tls::CredentialsMapPtr) { ++published; }};
        manager.add(alice);
    }
    io.run_for(1500ms);
    CHECK(published == 1);
}
}
