// SPDX-License-Identifier: Apache-2.0
#include "checked_load.hpp"

#include <algorithm>
#include <cerrno>
#include <random>
#include <sstream>
#include <stdexcept>
#include <system_error>

namespace culvert::test {
namespace {

constexpr std::uint64_t patterns = 8;
constexpr std::uint64_t piece = 32 * 1024;

// What only a bug brings about; all else is how connections die.
struct Wrong : std::runtime_error {
    using std::runtime_error::runtime_error;
};

void expect_all(const Received& received, std::uint64_t bytes, const char* where) {
    if (received.first_wrong)
        throw Wrong(std::string{where} + ": wrong bytes in the chunk at " + std::to_string(*received.first_wrong));
    if (received.bytes < bytes)
        throw Wrong(std::string{where} + ": a clean end after " + std::to_string(received.bytes) + " of " +
                    std::to_string(bytes) + " bytes");
}

std::string line_of(Connection& connection) {
    std::string line;
    while (!line.ends_with('\n')) {
        const std::string byte = connection.receive_some(1);
        if (byte.empty()) throw Wrong("server: a clean end within the first line: \"" + line + "\"");
        line += byte;
    }
    return line;
}

std::string_view name_of(CheckedLoad::Kind kind) {
    return kind == CheckedLoad::Kind::echo ? "echo" : kind == CheckedLoad::Kind::down ? "down" : "up";
}

}

CheckedLoad::CheckedLoad(std::string secret) : secret_{std::move(secret)} {
    for (std::uint64_t seed = 0; seed < patterns; ++seed) patterns_.emplace_back(seed);
}

App CheckedLoad::app() {
    return [this](Connection& connection) {
        try {
            serve(connection);
        } catch (const Wrong& wrong) {
            complain(wrong.what());
        }
    };
}

void CheckedLoad::serve(Connection& connection) {
    connection.limit(60s);
    std::istringstream words{line_of(connection)};
    std::string secret, kind;
    std::uint64_t which = 0, bytes = 0;
    words >> secret >> kind >> which >> bytes;
    if (secret != secret_ || which >= patterns) throw Wrong("server: another's first line");
    if (kind == "down") {
        pour(connection, patterns_[which], bytes);
        connection.end_sending();
    } else if (kind == "up") {
        const Received received = drain(connection, patterns_[which]);
        expect_all(received, bytes, "server");
        connection.send("whole");
        connection.end_sending();
    } else {
        apps::echo(connection);
    }
}

void CheckedLoad::call(const Pod& from, SocketAddress to, Kind kind, std::uint64_t seed) {
    callers_.emplace_back([this, &from, to, kind, seed] { run(from, to, kind, seed); });
}

void CheckedLoad::run(const Pod& from, SocketAddress to, Kind kind, std::uint64_t seed) {
    std::mt19937_64 random{seed};
    while (!ending_) {
        // Short ones and long ones: new connections are work, too.
        const std::uint64_t most = random() % 3 == 0 ? 2'000'000 : 3'000;
        const std::uint64_t bytes = 1 + random() % most;
        const std::uint64_t which = random() % patterns;
        Connection connection;
        try {
            connection = from.dial(to);
        } catch (const std::system_error& failure) {
            ++counts_.refused;
            std::this_thread::sleep_for(5ms);  // refused ones would spin
            if (failure.code().value() == ETIMEDOUT) complain("client: connect() was never answered");
            continue;
        }
        try {
            talk(connection, kind, which, bytes);
            ++counts_.whole;
            counts_.bytes += bytes;
        } catch (const Wrong& wrong) {
            complain("client, " + std::string{name_of(kind)} + " " + to.to_string() + ": " + wrong.what());
        } catch (const std::system_error& failure) {
            ++counts_.cut;
            if (failure.code().value() == ETIMEDOUT)
                complain("client, " + std::string{name_of(kind)} + " " + to.to_string() + ": silence for ten seconds");
            std::this_thread::sleep_for(5ms);
        }
    }
}

void CheckedLoad::talk(Connection& connection, Kind kind, std::uint64_t which, std::uint64_t bytes) {
    const Pattern& pattern = patterns_[which];
    connection.send(secret_ + " " + std::string{name_of(kind)} + " " + std::to_string(which) + " " +
                    std::to_string(bytes) + "\n");
    if (kind == Kind::down) return expect_all(drain(connection, pattern), bytes, "down");
    if (kind == Kind::up) {
        pour(connection, pattern, bytes);
        connection.end_sending();
        const std::string said = connection.receive_all();
        if (said != "whole") throw Wrong("a clean end instead of \"whole\": \"" + said + "\"");
        return;
    }
    for (std::uint64_t offset = 0; offset < bytes;) {
        const std::string_view part = pattern.at(offset, std::min(piece, bytes - offset));
        connection.send(part);
        std::string back;
        while (back.size() < part.size()) {
            const std::string more = connection.receive_some(part.size() - back.size());
            if (more.empty())
                throw Wrong("a clean end after " + std::to_string(offset + back.size()) + " bytes of an echo");
            back += more;
        }
        if (back != part) throw Wrong("another's bytes came back at " + std::to_string(offset));
        offset += part.size();
    }
    connection.end_sending();
    if (!connection.receive_some().empty()) throw Wrong("more bytes than were sent");
}

void CheckedLoad::stop() {
    ending_ = true;
    for (std::thread& caller : callers_) caller.join();
    callers_.clear();
}

void CheckedLoad::complain(const std::string& what) {
    std::lock_guard lock{mutex_};
    if (!ending_ && wrong_.size() < 100) wrong_.push_back(what);
}

std::vector<std::string> CheckedLoad::wrong() const {
    std::lock_guard lock{mutex_};
    return wrong_;
}

}
