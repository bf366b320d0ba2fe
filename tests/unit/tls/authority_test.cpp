// SPDX-License-Identifier: Apache-2.0
#include <openssl/x509v3.h>
#include <fcntl.h>
#include <openssl/pem.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <doctest/doctest.h>

#include <filesystem>
#include <fstream>
#include <thread>

#include <culvert/tls/rehearsal.hpp>

#include "fixtures.hpp"

using namespace fixtures;
using namespace std::chrono_literals;
using culvert::tls::Authority;

namespace {

unsigned mode(const std::string& path) {
    struct stat status {};
    REQUIRE(::stat(path.c_str(), &status) == 0);
    return status.st_mode & 07777;
}

std::string text(const std::string& path) {
    std::ifstream file{path};
    return {std::istreambuf_iterator<char>{file}, {}};
}

void put(const std::string& path, const std::string& content) {
    std::ofstream{path} << content;
}

std::string why_not(const std::string& certificate, const std::string& key) {
    auto loaded = Authority::load(certificate, key);
    return loaded ? "" : loaded.error().to_string();
}

tls::CredentialsPtr issued(const Authority& authority, const Identity& identity) {
    auto pem = authority.issue(identity, 1h);
    REQUIRE(pem.has_value());
    return credentials(*pem, identity);
}

bool has(const std::string& haystack, const std::string& needle) {
    return haystack.find(needle) != std::string::npos;
}

}

TEST_SUITE("tls") {
TEST_CASE("authority: a root is made once and kept, its key for nobody else to read") {
    Folder folder;
    std::string home = folder.path + "/deep/ca";
    ::umask(0);
    auto made = Authority::keep(home, "cluster.local");
    ::umask(022);
    REQUIRE(made.has_value());
    CHECK(mode(home) == 0700);
    CHECK(mode(home + "/root-key.pem") == 0600);
    CHECK(mode(home + "/root-cert.pem") == 0644);
    auto again = Authority::keep(home, "cluster.local");
    REQUIRE(again.has_value());
    CHECK((*made)->root_pem() == (*again)->root_pem());
    CHECK(text(home + "/root-cert.pem") == (*made)->root_pem());
    // Nothing half-made stays behind.
    std::size_t files = 0;
    for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator{home}) ++files;
    CHECK(files == 3);  // certificate, key, lock
}

TEST_CASE("authority: the root it makes looks like istiod's") {
    Folder folder;
    auto made = Authority::keep(folder.path, "mesh.example");
    REQUIRE(made.has_value());
    auto root = std::move(tls::read_certificates((*made)->root_pem())->front());
    char* name = X509_NAME_oneline(X509_get_subject_name(root.get()), nullptr, 0);
    CHECK(std::string{name} == "/O=mesh.example");
    OPENSSL_free(name);
    CHECK(X509_check_ca(root.get()) == 1);
    CHECK(X509_get0_subject_key_id(root.get()) != nullptr);
    auto lifetime = tls::to_system_time(X509_get0_notAfter(root.get())) - std::chrono::system_clock::now();
    CHECK(lifetime > std::chrono::days{3649});
    CHECK(lifetime < std::chrono::days{3651});
}

TEST_CASE("authority: one that nobody keeps signs for whoever trusts its root, and is never the same") {
    auto one = tls::Authority::forgotten("cluster.local"), other = tls::Authority::forgotten("cluster.local");
    REQUIRE(one.has_value());
    REQUIRE(other.has_value());
    CHECK((*one)->root_pem() != (*other)->root_pem());
    CHECK(tls::rehearse(issued(**one, alice)).has_value());
    auto pem = (*one)->issue(alice, 1h);
    REQUIRE(pem.has_value());
    pem->roots = (*other)->root_pem();
    CHECK_FALSE(tls::rehearse(credentials(*pem, alice)).has_value());
}

TEST_CASE("authority: a leaf is what istiod would issue") {
    Folder folder;
    auto authority = *Authority::keep(folder.path, "cluster.local");
    auto now = std::chrono::system_clock::now();
    auto pem = authority->issue(alice, 24h);
    REQUIRE(pem.has_value());
    auto chain = *tls::read_certificates(pem->chain);
    REQUIRE(chain.size() == 1);
    X509* leaf = chain.front().get();
    CHECK(X509_NAME_entry_count(X509_get_subject_name(leaf)) == 0);
    CHECK((tls::uri_names(*leaf) == std::vector<std::string>{alice.to_string()}));
    int critical = -1;
    auto* names = X509_get_ext_d2i(leaf, NID_subject_alt_name, &critical, nullptr);
    GENERAL_NAMES_free(static_cast<GENERAL_NAMES*>(names));
    CHECK(critical == 1);
    CHECK(X509_get_key_usage(leaf) == (KU_DIGITAL_SIGNATURE | KU_KEY_ENCIPHERMENT));
    CHECK(X509_get_extended_key_usage(leaf) == (XKU_SSL_SERVER | XKU_SSL_CLIENT));
    CHECK(X509_check_ca(leaf) == 0);
    CHECK(X509_get0_authority_key_id(leaf) != nullptr);
    CHECK(ASN1_STRING_length(X509_get0_serialNumber(leaf)) == 16);
    auto from = tls::to_system_time(X509_get0_notBefore(leaf));
    auto until = tls::to_system_time(X509_get0_notAfter(leaf));
    CHECK(now - from >= 119s);
    CHECK(now - from <= 122s);
    CHECK(until - now >= 24h - 2s);
    CHECK(until - now <= 24h + 2s);

    auto other = authority->issue(alice, 24h);
    REQUIRE(other.has_value());
    CHECK(other->key != pem->key);
    auto first = credentials(*pem, alice);
    CHECK(first->serial != credentials(*other, alice)->serial);
    CHECK(first->serial.find_first_not_of("0123456789") == std::string::npos);
    CHECK(first->not_after == until);
    CHECK(first->not_before == from);
}

TEST_CASE("authority: no leaf outlives the root") {
    Folder folder;
    auto authority = *Authority::keep(folder.path, "cluster.local");
    auto pem = authority->issue(alice, std::chrono::days{5000});
    REQUIRE(pem.has_value());
    auto root = std::move(tls::read_certificates(authority->root_pem())->front());
    CHECK(credentials(*pem, alice)->not_after == tls::to_system_time(X509_get0_notAfter(root.get())));
}

TEST_CASE("authority: daemons that start together end with one root") {
    Folder folder;
    std::string home = folder.path + "/ca";
    constexpr int daemons = 6;
    std::vector<pid_t> children;
    for (int i = 0; i < daemons; ++i) {
        pid_t child = ::fork();
        if (child == 0) {
            auto made = Authority::keep(home, "cluster.local");
            put(folder.path + "/seen-" + std::to_string(i), made ? (*made)->root_pem() : made.error().to_string());
            ::_exit(0);
        }
        children.push_back(child);
    }
    std::vector<std::thread> threads;  // and two inside one process
    std::vector<std::string> seen(2);
    for (std::size_t i = 0; i < seen.size(); ++i)
        threads.emplace_back([&, i] {
            auto made = Authority::keep(home, "cluster.local");
            seen[i] = made ? (*made)->root_pem() : made.error().to_string();
        });
    for (auto& thread : threads) thread.join();
    for (pid_t child : children) ::waitpid(child, nullptr, 0);
    for (int i = 0; i < daemons; ++i) seen.push_back(text(folder.path + "/seen-" + std::to_string(i)));
    for (const std::string& root : seen) {
        CHECK(has(root, "BEGIN CERTIFICATE"));
        CHECK(root == seen.front());
    }
}

TEST_CASE("authority: leaves of two daemons that share a root accept each other") {
    Folder folder;
    auto one = *Authority::keep(folder.path, "cluster.local");
    auto two = *Authority::keep(folder.path, "cluster.local");
    auto p = pair(issued(*one, alice), issued(*two, bob), {bob.to_string()});
    p.shake();
    CHECK(p.client_error == "");
    CHECK(p.server_error == "");
    CHECK(p.server_done);
}

TEST_CASE("authority: a directory whose lock is held waits, then goes on") {
    Folder folder;
    int held = ::open((folder.path + "/lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    REQUIRE(::flock(held, LOCK_EX) == 0);
    std::thread holder{[&] {
        std::this_thread::sleep_for(200ms);
        ::close(held);
    }};
    auto begin = std::chrono::steady_clock::now();
    auto made = Authority::keep(folder.path, "cluster.local");
    auto waited = std::chrono::steady_clock::now() - begin;
    holder.join();
    CHECK(made.has_value());
    CHECK(waited >= 150ms);
}

TEST_CASE("authority: a key whose certificate got lost is used again, not overwritten") {
    Folder folder;
    auto before = *Authority::keep(folder.path, "cluster.local");
    auto old_leaf = issued(*before, bob);
    std::string key = text(folder.path + "/root-key.pem");
    REQUIRE(::unlink((folder.path + "/root-cert.pem").c_str()) == 0);
    auto after = Authority::keep(folder.path, "cluster.local");
    REQUIRE(after.has_value());
    CHECK(text(folder.path + "/root-key.pem") == key);
    auto p = pair(issued(**after, alice), old_leaf, {bob.to_string()});
    p.shake();
    CHECK(p.client_error == "");
    CHECK(p.server_error == "");
}

TEST_CASE("authority: a root somebody made may be RSA") {
    Folder folder;
    Issuer root = Issuer::rsa_root("corporate");
    put(folder.path + "/c", root.pem());
    put(folder.path + "/k", *tls::to_pem(*root.key));
    auto authority = Authority::load(folder.path + "/c", folder.path + "/k");
    REQUIRE(authority.has_value());
    auto p = pair(issued(**authority, alice), issued(**authority, bob), {bob.to_string()});
    p.shake();
    CHECK(p.client_error == "");
    CHECK(p.server_done);
}

TEST_CASE("authority: what is wrong with the files is said in words, with the file's name") {
    Folder folder;
    std::string c = folder.path + "/cert";
    std::string k = folder.path + "/key";
    const std::string missing =
        ": No such file or directory (os error 2); put the root that all nodes share, and its key, in place";
    CHECK(why_not(c, k) == "read CA file " + c + missing);

    Issuer root = Issuer::root("r");
    Issuer other = Issuer::root("o");
    put(c, root.pem());
    CHECK(why_not(c, k) == "read CA file " + k + missing);
    put(k, "not a key");
    CHECK(has(why_not(c, k), "CA file " + k + ": read private key"));
    put(k, *tls::to_pem(*other.key));
    CHECK(has(why_not(c, k), "CA file " + k + ": this key is not the one of " + c));
    put(k, *tls::to_pem(*root.key));
    CHECK(why_not(c, k) == "");

    put(c, "nothing");
    CHECK(has(why_not(c, k), "CA file " + c + ": no certificate in it"));
    put(c, root.pem().substr(0, 200) + "\n-----END CERTIFICATE-----\n");
    CHECK(has(why_not(c, k), "CA file " + c + ": read certificate 1"));
    auto pem = leaf(root, {.uris = {alice.to_string()}});
    put(c, pem.chain);
    put(k, pem.key);
    CHECK(has(why_not(c, k), "CA file " + c + ": not a CA certificate"));

    auto now = std::chrono::system_clock::now();
    auto old = *tls::blank_certificate(*root.key, now - 2h, now - 1h);
    tls::add_basic_constraints(*old, true);
    tls::add_key_usage(*old, {tls::sign_certificates});
    tls::sign(*old, *root.key);
    put(c, *tls::to_pem(*old));
    put(k, *tls::to_pem(*root.key));
    CHECK(has(why_not(c, k), "CA file " + c + ": expired at "));
    CHECK(has(why_not(c, k), "remove both files"));
}

TEST_CASE("credentials: what does not belong together is refused") {
    Issuer root = Issuer::root("r");
    tls::Pem pem = leaf(root, {.uris = {alice.to_string()}});
    auto why = [](const Identity& identity, const tls::Pem& p) {
        auto made = tls::make_credentials(identity, p);
        return made ? std::string{} : made.error().to_string();
    };
    CHECK(why(alice, pem) == "");
    CHECK(why(bob, pem) ==
          "the certificate is for spiffe://cluster.local/ns/shop/sa/alice, it was asked for "
          "spiffe://cluster.local/ns/shop/sa/bob");
    tls::Pem other_key = pem;
    other_key.key = leaf(root, {}).key;
    CHECK(has(why(alice, other_key), "the private key does not belong to the certificate"));
    tls::Pem no_roots = pem;
    no_roots.roots = "";
    CHECK(has(why(alice, no_roots), "read roots"));
    tls::Pem no_chain = pem;
    no_chain.chain = "";
    CHECK(has(why(alice, no_chain), "read certificate chain"));
    tls::Pem encrypted = pem;
    auto key = *tls::read_key(pem.key);
    tls::Bio bio{BIO_new(BIO_s_mem())};
    PEM_write_bio_PrivateKey(bio.get(), key.get(), EVP_aes_128_cbc(), reinterpret_cast<const unsigned char*>("x"), 1,
                             nullptr, nullptr);
    char* data = nullptr;
    long size = BIO_get_mem_data(bio.get(), &data);
    encrypted.key = {data, static_cast<std::size_t>(size)};
    CHECK(has(why(alice, encrypted), "read private key"));  // and does not ask the terminal
}
}
