/* Names of hosts without waiting for them: what pjsip would ask the system's resolver for, on the one thread that does
 * all signalling, is taken from a table here; a name that is not in it is told to the application, and who wants to
 * send there waits for its answer while everything else goes on.
 *
 * pjsip's own resolver would not block either, but it knows neither /etc/hosts nor the search list nor what else
 * the host's nsswitch.conf says, and it reads what strangers answer with a parser of its own.
 */
#ifndef GLOTGATE_PJSUA2_NAMES_HPP
#define GLOTGATE_PJSUA2_NAMES_HPP

#include <pjsua2.hpp>
#include <pjsua-lib/pjsua.h>
#include <list>
#include <map>
#include <string>
#include <vector>

#ifndef SWIG
/** What pj_getaddrinfo() asks in place of the system, while it is set (build-pjsua2 puts it there). */
extern "C" pj_status_t (*glotgate_getaddrinfo)(int, const pj_str_t *, unsigned *, pj_addrinfo *);
#endif

namespace pj
{

/** The table; there is at most one, installed after the transports were made: they may be bound to a name. */
class HostNames
{
public:
    enum { MAX_NAMES = 1024, MAX_WAITING = 4096, MAX_ADDRESSES = PJSIP_MAX_RESOLVED_ADDRESSES };

    HostNames() {}
    virtual ~HostNames() { if (instance() == this) { instance() = NULL; glotgate_getaddrinfo = NULL; } }

    /** A name is wanted that is not known, or not any more. Called on the thread that runs libHandleEvents(), from
     *  within what wants it; answer() must follow, later. */
    virtual void onWanted(const std::string &name) { PJ_UNUSED_ARG(name); }

    void install() PJSUA2_THROW(Error)
    {
        pj_status_t status = pjsip_endpt_set_ext_resolver(pjsua_get_pjsip_endpt(), &resolver());
        if (status != PJ_SUCCESS)
            throw Error(status, "HostNames::install()", std::string(), __FILE__, __LINE__);
        instance() = this;
        glotgate_getaddrinfo = &HostNames::getaddrinfo;
    }

    /** What is known of a name from now on, for so many seconds; no addresses: that it has none. Who waited goes on. */
    static void answer(const std::string &name, const StringVector &addresses, unsigned seconds)
    {
        std::map<std::string, Known> &names = table();
        std::string key = lower(name.data(), name.size());
        if (names.size() >= MAX_NAMES && !names.count(key))
            names.clear();
        Known &known = names[key];
        known.addresses.clear();
        for (size_t i = 0; i < addresses.size() && known.addresses.size() < MAX_ADDRESSES; ++i) {
            pj_str_t text = pj_str((char *)addresses[i].c_str());
            pj_sockaddr address;
            if (pj_sockaddr_parse(pj_AF_UNSPEC(), 0, &text, &address) == PJ_SUCCESS)
                known.addresses.push_back(address);
        }
        known.untilMs = nowMs() + 1000ULL * seconds;

        std::list<Waiting> going;
        for (std::list<Waiting>::iterator it = waiting().begin(); it != waiting().end();) {
            std::list<Waiting>::iterator here = it++;
            if (here->key == key)
                going.splice(going.end(), waiting(), here);
        }
        for (std::list<Waiting>::iterator it = going.begin(); it != going.end(); ++it) {
            it->target.addr.host.ptr = (char *)it->host.data();
            finish(&it->target, it->token, it->callback);
        }
    }

    /** For as long as this lives the system is asked again: an operator's order may name a host, and may wait. */
    class System
    {
    public:
        System() : before(glotgate_getaddrinfo) { glotgate_getaddrinfo = NULL; }
        ~System() { glotgate_getaddrinfo = before; }
    private:
        pj_status_t (*before)(int, const pj_str_t *, unsigned *, pj_addrinfo *);
    };

private:
    HostNames(const HostNames &);
    HostNames &operator=(const HostNames &);

    struct Known
    {
        std::vector<pj_sockaddr> addresses;
        pj_uint64_t              untilMs;
    };
    struct Waiting
    {
        std::string              key, host;
        pjsip_host_info          target;
        void                    *token;
        pjsip_resolver_callback *callback;
    };
    struct Result
    {
        pj_status_t            status;
        pjsip_server_addresses addresses;
    };

    static HostNames *&instance() { static HostNames *names = NULL; return names; }
    static std::map<std::string, Known> &table() { static std::map<std::string, Known> names; return names; }
    static std::list<Waiting> &waiting() { static std::list<Waiting> list; return list; }
    static pjsip_ext_resolver &resolver() { static pjsip_ext_resolver ours = {&HostNames::resolve}; return ours; }

    static pj_uint64_t nowMs()
    {
        pj_time_val now;
        pj_gettickcount(&now);
        return (pj_uint64_t)now.sec * 1000 + now.msec;
    }

    static std::string lower(const char *text, size_t length)
    {
        std::string key(text, length);
        for (size_t i = 0; i < key.size(); ++i)
            key[i] = (char)pj_tolower((unsigned char)key[i]);
        return key;
    }

    static bool isAddress(const pj_str_t *host, pj_sockaddr *address)
    {
        pj_bzero(address, sizeof(*address));
        if (host->slen > 0 && pj_inet_pton(pj_AF_INET(), host, &address->ipv4.sin_addr) == PJ_SUCCESS)
            address->addr.sa_family = (pj_uint16_t)pj_AF_INET();
        else if (host->slen > 0 && pj_inet_pton(pj_AF_INET6(), host, &address->ipv6.sin6_addr) == PJ_SUCCESS)
            address->addr.sa_family = (pj_uint16_t)pj_AF_INET6();
        else
            return false;
        return true;
    }

    static void want(const std::string &key)
    {
        if (instance())
            instance()->onWanted(key);
    }

    /** pj_getaddrinfo(): never waits. An answer that is too old is better than none: it decides which of our own
     *  addresses is shown. */
    static pj_status_t getaddrinfo(int af, const pj_str_t *host, unsigned *count, pj_addrinfo ai[])
    {
        pj_sockaddr address;
        std::vector<pj_sockaddr> found;
        if (isAddress(host, &address)) {
            found.push_back(address);
        } else {
            std::string key = lower(host->ptr, host->slen);
            std::map<std::string, Known>::iterator known = table().find(key);
            if (known != table().end())
                found = known->second.addresses;
            else
                want(key);
        }
        unsigned most = *count;
        *count = 0;
        for (size_t i = 0; i < found.size() && *count < most; ++i) {
            if (af != pj_AF_UNSPEC() && found[i].addr.sa_family != af)
                continue;
            pj_addrinfo &info = ai[(*count)++];
            pj_bzero(&info, sizeof(info));
            pj_ansi_snprintf(info.ai_canonname, sizeof(info.ai_canonname), "%.*s", (int)host->slen, host->ptr);
            info.ai_addr = found[i];
            PJ_SOCKADDR_RESET_LEN(&info.ai_addr);
        }
        return *count ? PJ_SUCCESS : PJ_ERESOLVE;
    }

    /** pjsip_resolve(): at once, or when answer() has come. */
    static void resolve(pjsip_resolver_t *, pj_pool_t *, const pjsip_host_info *target, void *token,
                        pjsip_resolver_callback *callback)
    {
        pj_sockaddr address;
        std::string key = lower(target->addr.host.ptr, target->addr.host.slen);
        std::map<std::string, Known>::iterator known = table().find(key);
        if (isAddress(&target->addr.host, &address) || (known != table().end() && nowMs() < known->second.untilMs)) {
            finish(target, token, callback);
            return;
        }
        if (waiting().size() >= MAX_WAITING) {
            (*callback)(PJ_ERESOLVE, token, NULL);
            return;
        }
        Waiting one;
        one.key = key;
        one.host.assign(target->addr.host.ptr, target->addr.host.slen);
        one.target = *target;
        one.token = token;
        one.callback = callback;
        waiting().push_back(one);
        want(key);
    }

    /** pjsip's own rules, with the table in place of the system. */
    static void finish(const pjsip_host_info *target, void *token, pjsip_resolver_callback *callback)
    {
        Result result;
        result.status = PJ_ERESOLVE;
        pj_bzero(&result.addresses, sizeof(result.addresses));
        pjsip_endpoint *endpoint = pjsua_get_pjsip_endpt();
        pj_pool_t *pool = pjsua_pool_create("names", 512, 512);
        pjsip_endpt_set_ext_resolver(endpoint, NULL);
        pjsip_endpt_resolve(endpoint, pool, (pjsip_host_info *)target, &result, &HostNames::take);
        pjsip_endpt_set_ext_resolver(endpoint, &resolver());
        pj_pool_release(pool);
        (*callback)(result.status, token, result.status == PJ_SUCCESS ? &result.addresses : NULL);
    }

    static void take(pj_status_t status, void *token, const pjsip_server_addresses *addresses)
    {
        Result *result = (Result *)token;
        result->status = status;
        if (addresses)
            result->addresses = *addresses;
    }
};

} // namespace pj

#endif
