// SPDX-License-Identifier: Apache-2.0
// Authorization policies as ztunnel's LOCAL_XDS_PATH file has them.
#include <algorithm>
#include <array>

#include <fmt/format.h>

#include "schema.hpp"

namespace culvert::control {

using namespace yaml;

namespace {

constexpr auto required = Need::required;

Reader list_of(Reader item) {
    return {"a list", [read = std::move(item.read)](const Cursor& at) { at.items(read); }};
}

Reader one_of(std::initializer_list<std::string_view> words) {
    std::string expected = alternatives(words);
    return {expected, [expected, all = std::vector<std::string_view>{words}](const Cursor& at) {
                const std::string& word = at.text(expected);
                if (std::find(all.begin(), all.end(), word) == all.end()) at.expected(expected);
            }};
}

constexpr std::string_view any_string_match =
    "!Exact, !Prefix or !Suffix with text, !Presence [], or a mapping such as {Exact: text}";

void operand(const Cursor& at, std::string_view kind) {
    if (kind == "Exact" || kind == "Prefix" || kind == "Suffix")
        return void(at.text("text after " + std::string{kind}));
    if (kind != "Presence") at.expected(any_string_match);
    if (at.is_null() || at.is_empty_text()) return;  // a tag on nothing comes as empty text
    at.items([](const Cursor& item) { item.expected("an empty list after Presence"); });
}

// ztunnel's loader wants tags, its config_dump prints mappings; both are read.
Reader string_match() {
    return {std::string{any_string_match}, [](const Cursor& at) {
                std::string tag = at.tag();
                if (tag.size() > 1 && tag.front() == '!') return operand(at, std::string_view{tag}.substr(1));
                if (!at.is_mapping()) at.expected(any_string_match);
                std::size_t kinds = 0;
                at.entries([&](const Cursor& kind, const Cursor& value) {
                    ++kinds;
                    constexpr std::array known{"Exact", "Prefix", "Suffix", "Presence"};
                    if (std::ranges::find(known, kind.text()) == known.end()) kind.expected(any_string_match);
                    operand(value, kind.text());
                });
                if (kinds != 1) at.expected("one of Exact, Prefix, Suffix or Presence");
            }};
}

Reader service_account() {
    return section([](const Cursor& at) {
        at.fields({{"namespace", checked(yaml::text), required}, {"serviceAccount", checked(yaml::text), required}});
    });
}

Reader match() {
    return section([](const Cursor& at) {
        std::vector<Field> table;
        for (const char* key : {"namespaces", "notNamespaces", "principals", "notPrincipals"})
            table.push_back({key, list_of(string_match())});
        for (const char* key : {"serviceAccounts", "notServiceAccounts"})
            table.push_back({key, list_of(service_account())});
        for (const char* key : {"sourceIps", "notSourceIps", "destinationIps", "notDestinationIps"})
            table.push_back({key, list_of(checked(cidr))});
        for (const char* key : {"destinationPorts", "notDestinationPorts"})
            table.push_back({key, list_of(checked(port))});
        at.fields(table, Unknown::ignored);
    });
}

Reader policy() {
    return section([](const Cursor& at) {
        at.fields({{"name", checked(yaml::text), required},
                   {"namespace", checked(yaml::text), required},
                   {"scope", one_of({"Global", "Namespace", "WorkloadSelector"}), required},
                   {"action", one_of({"Allow", "Deny"}), required},
                   {"rules", list_of(list_of(list_of(match()))), required},
                   {"dryRun", checked(flag), required}});
    });
}

}

Reader policies() {
    return {"a list", [](const Cursor& at) {
                std::size_t count = 0;
                at.items([&](const Cursor& item) {
                    policy().read(item);
                    ++count;
                });
                if (count != 0) at.refuse(not_enforced);
            }};
}

}
