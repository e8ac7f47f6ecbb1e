use super::*;

fn machine() -> Machine {
    Machine { user: "kim".to_owned(), host: "box".to_owned() }
}

fn write(path: PathBuf, text: &str) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::io::Write::write_all(&mut File::create(path).unwrap(), text.as_bytes()).unwrap();
}

#[test]
fn only_the_name_is_taken_from_a_remote_address() {
    for (address, name) in [
        ("https://github.com/acme/shop.git", "shop"),
        ("https://kim:ghp_secret@github.com/acme/shop.git/", "shop"),
        ("https://token@github.com", ""),
        ("https://ghp_secret@github.com/", ""),
        ("git@github.com:acme/shop.git", "shop"),
        ("git@github.com:shop", "shop"),
        ("ssh://git@host:2222/acme/shop", "shop"),
        ("/srv/git/shop.git", "shop"),
        ("../shop", "shop"),
        ("file:///srv/git/shop.git", "shop"),
        ("https://host/shop.git?access_token=secret", "shop"),
        ("C:\\git\\shop", "shop"),
        ("..", ""),
        ("", ""),
        (".git", ""),
    ] {
        assert_eq!(repository_name(address), name, "{address}");
    }
}

#[test]
fn the_origin_is_found_among_other_remotes() {
    let config = "[core]\n\tbare = false\n[remote \"upstream\"]\n\turl = https://x/other.git\n\
                  [Remote \"origin\"] ; mine\n\tfetch = +refs/heads/*:refs/remotes/origin/*\n\
                  \tURL = git@host:acme/shop.git # comment\n[branch \"main\"]\n\tremote = origin\n";
    assert_eq!(origin_address(config).as_deref(), Some("git@host:acme/shop.git"));
    assert_eq!(
        origin_address("[remote \"origin\"]\nurl = \"https://x/a b.git\"").as_deref(),
        Some("https://x/a b.git")
    );
    assert_eq!(origin_address("[remote \"ORIGIN\"]\nurl = x\n[remote]\nurl = y\nurl = z"), None);
    assert_eq!(origin_address("[\n=\n[remote \"origin\""), None);
}

#[test]
fn a_detached_head_has_no_branch() {
    assert_eq!(branch_of_head("ref: refs/heads/feature/x-1\n"), "feature/x-1");
    assert_eq!(branch_of_head("ref: refs/remotes/origin/main"), "refs/remotes/origin/main");
    assert_eq!(branch_of_head("0123456789abcdef0123456789abcdef01234567\n"), "");
    assert_eq!(branch_of_head(""), "");
}

#[test]
fn the_user_is_named_by_its_variables_then_by_the_system() {
    let text = |s: &str| Some(s.to_owned());
    let system = || "from-system".to_owned();
    assert_eq!(user_name(text("kim"), text("other"), system), "kim");
    assert_eq!(user_name(text(" "), text("other"), system), "other");
    assert_eq!(user_name(None, None, system), "from-system");
    let passwd = "root:x:0:0:root:/root:/bin/sh\n\n:x:7::\nkim:x:1007:1007::/home/kim:/bin/sh\n";
    assert_eq!(login_name(passwd, 1007), Some("kim"));
    assert_eq!(login_name(passwd, 7), None);
}

#[test]
fn a_project_is_named_by_configuration_then_repository_then_folder() {
    let home = tempfile::tempdir().unwrap();
    let root = home.path().join("checkout");
    write(root.join(".git/config"), "[remote \"origin\"]\nurl = https://me:pw@host/acme/shop.git\n");
    write(root.join(".git/HEAD"), "ref: refs/heads/main\n");
    let found = context(&root, None, &machine());
    assert_eq!(
        (found.name.as_str(), found.repository.as_str(), found.branch.as_str()),
        ("shop", "shop", "main")
    );
    assert_eq!((found.user.as_str(), found.host.as_str()), ("kim", "box"));
    assert_eq!(context(&root, Some("mine"), &machine()).name, "mine");
    assert_eq!(context(&root, Some("  "), &machine()).name, "shop");

    let inner = root.join("services/pay");
    std::fs::create_dir_all(&inner).unwrap();
    let found = context(&inner, None, &machine());
    assert_eq!(
        (found.name.as_str(), found.repository.as_str(), found.branch.as_str()),
        ("pay", "shop", "main")
    );

    let bare = home.path().join("plain");
    std::fs::create_dir_all(bare.join(".git")).unwrap();
    let found = context(&bare, None, &machine());
    assert_eq!((found.name.as_str(), found.repository.as_str(), found.branch.as_str()), ("plain", "", ""));
}

#[test]
fn a_worktree_has_the_common_remote_and_its_own_branch() {
    let home = tempfile::tempdir().unwrap();
    let main = home.path().join("shop");
    write(main.join(".git/config"), "[remote \"origin\"]\nurl = git@host:acme/shop.git\n");
    write(main.join(".git/HEAD"), "ref: refs/heads/main\n");
    write(main.join(".git/worktrees/shop-fix/HEAD"), "ref: refs/heads/fix\n");
    write(main.join(".git/worktrees/shop-fix/commondir"), "../..\n");
    let tree = home.path().join("shop-fix");
    write(tree.join(".git"), &format!("gitdir: {}\n", main.join(".git/worktrees/shop-fix").display()));
    let found = context(&tree, None, &machine());
    assert_eq!((found.name.as_str(), found.branch.as_str()), ("shop", "fix"));

    let module = main.join("lib");
    write(module.join(".git"), "gitdir: ../.git/modules/lib\n");
    write(main.join(".git/modules/lib/HEAD"), "ref: refs/heads/dev\n");
    write(main.join(".git/modules/lib/config"), "[remote \"origin\"]\nurl = ../lib.git\n");
    let found = context(&module, None, &machine());
    assert_eq!((found.name.as_str(), found.branch.as_str()), ("lib", "dev"));
}

#[test]
fn a_second_clone_is_told_apart_and_the_first_keeps_its_name() {
    let mut taken = BTreeSet::new();
    for (root, name) in [
        ("/home/kim/shop", "shop"),
        ("/home/kim/fix", "shop-fix"),
        ("/home/kim/old/fix", "shop-old"),
        ("/home/kim/old/old/fix", "shop-2"),
        ("/", "shop-3"),
    ] {
        let given = distinct_name("shop", Path::new(root), &taken);
        assert_eq!(given, name);
        taken.insert(given);
    }
}
